"""No password is printed: not in an error of any store, and not in the local variables of a traceback."""

from __future__ import annotations

import unittest
from traceback import walk_tb
from urllib.parse import quote

from protean_testing import ConfigurationError, RedisStore
from protean_testing.errors import Secret, redacted
from protean_testing.servers.postgresql import start_postgresql

from .suite import MODELS, SuiteTestCase

PASSWORD = "gehe/im %1"

SUITE = """
from protean_testing import RedisStore
from protean_testing.stores.message_db.store import MessageDBStore

with open("url") as file:
    url = file.read()

class Tests(DatabaseTestCase):
    stores = [STORE(url)]

    def test_fails(self):
        BODY

del url
"""
POSTGRESQL = 'lambda url: SQLAlchemyStore(Base.metadata, url=url, name="shop")'
REDIS = 'lambda url: RedisStore(url, name="shop", wait=0.5)'
MESSAGE_DB = 'lambda url: MessageDBStore(url, name="shop")'
MYSQL = 'lambda url: SQLAlchemyStore(Base.metadata, url=url, name="shop")'


class RedactedTests(unittest.TestCase):
    def test_a_password_is_replaced_in_its_place(self) -> None:
        coded = quote("p@ss/w rd", safe="")
        for text, secret, expected in (
            ("bad URL postgresql://ann:postgres@h/postgres", "", "bad URL postgresql://ann:***@h/postgres"),
            (
                "postgresql://h/db?user=ann&password=a%20b&x=1",
                "",
                "postgresql://h/db?user=ann&password=***&x=1",
            ),
            ("h?sslpassword=one&passfile=/two", "", "h?sslpassword=***&passfile=***"),
            ("redis://h/1?password=one&db=2", "", "redis://h/1?password=***&db=2"),
            ("host=h password='a b' user=x", "", "host=h password=*** user=x"),
            ("{'password': 'one', 'user': 'x'}", "", "{'password': ***, 'user': 'x'}"),
            (
                'database "postgres" is missing',
                "postgresql://a:postgres@h/x",
                'database "postgres" is missing',
            ),
            (
                "password authentication failed",
                "postgresql://a:password@h/x",
                "password authentication failed",
            ),
            ("cannot use p@ss/w rd", f"postgresql://a:{coded}@h/x", "cannot use ***"),
            (f"cannot use {coded}", f"redis://h?password={coded}", "cannot use ***"),
            ('invalid port "hunter2"', "hunter2", 'invalid port "***"'),
            (
                "bad postgresql://ann:a b@h/x now",
                "postgresql://ann:a b@h/x",
                "bad postgresql://ann:***@h/x now",
            ),
            ("cannot use a?b", "postgresql://ann:a?b@h/x", "cannot use ***"),
            ("cannot use a b", "postgresql://h/db?password=a+b", "cannot use ***"),
            ("{'PGPASSWORD': 'one', 'PGUSER': 'x'}", "", "{'PGPASSWORD': ***, 'PGUSER': 'x'}"),
            ("connect(password=b'one', user='x')", "", "connect(password=***, user='x')"),
            (
                "login 'one' failed for odbc_connect=UID%3Dann%3BPWD%3Done",
                "mssql+pyodbc:///?odbc_connect=UID%3Dann%3BPWD%3Done",
                "login '***' failed for odbc_connect=UID%3Dann%3BPWD%3D***",
            ),
        ):
            with self.subTest(text=text):
                self.assertEqual(redacted(text, secret), expected)

    def test_the_repr_of_a_secret_hides_it(self) -> None:
        self.assertEqual(repr({"password": Secret("one")}), "{'password': '***'}")
        self.assertEqual(repr([Secret("redis://:one@h/1")]), "['redis://:***@h/1']")
        self.assertEqual(repr(Secret("postgresql://ann:a b@h/x")), "'postgresql://ann:***@h/x'")
        self.assertEqual(Secret("one"), "one")

    def test_a_url_that_cannot_be_read_is_in_no_frame_of_ours(self) -> None:
        try:
            RedisStore("redis://:hunter2@127.0.0.1:1/first")
        except ConfigurationError as error:
            ours = [frame for frame, _ in walk_tb(error.__traceback__)][1:]
            self.assertGreater(len(ours), 1)
            self.assertNotIn("hunter2", "".join(repr(frame.f_locals) for frame in ours))
        else:
            self.fail("no database is called 'first'")


class TracebackTests(SuiteTestCase):
    """With ``--locals`` and pytest's ``-l`` every frame is printed with what it holds."""

    def check_suite(self, store: str, url: str, body: str = "pass", *secrets: str) -> None:
        self.write("url", url)
        suite = SUITE.replace("STORE", f"({store})").replace("BODY", body)
        self.write("suite_secrets.py", suite, before=MODELS)
        for runner in (
            ("unittest", "--locals", "suite_secrets"),
            ("pytest", "--showlocals", "suite_secrets.py"),
        ):
            with self.subTest(store=store, url=url, runner=runner):
                outcome = self.python("-m", *runner, timeout=240)
                said = outcome.out + outcome.err
                self.assertNotEqual(outcome.code, 0, said)
                self.assertRegex(said, "shop|read")
                for secret in (PASSWORD, quote(PASSWORD, safe=""), quote(PASSWORD), *secrets):
                    self.assertNotIn(secret, said)

    def test_a_server_that_cannot_be_reached(self) -> None:
        coded = quote(PASSWORD, safe="")
        for store, url in (
            (POSTGRESQL, f"postgresql://ann:{coded}@127.0.0.1:1/shop_test"),
            (POSTGRESQL, f"postgresql://127.0.0.1:1/shop_test?user=ann&password={coded}&sslpassword={coded}"),
            (MESSAGE_DB, f"postgresql://ann:{coded}@127.0.0.1:1/events_test"),
            (MESSAGE_DB, f"postgresql://127.0.0.1:1/events_test?user=ann&password={coded}"),
            (REDIS, f"redis://:{coded}@127.0.0.1:1/1"),
            (REDIS, f"redis://127.0.0.1:1/1?password={coded}"),
            (MYSQL, f"mysql+pymysql://ann:{coded}@127.0.0.1:1/shop_test"),
        ):
            self.check_suite(store, url)

    def test_a_reset_that_fails(self) -> None:
        server = start_postgresql(tcp=True)
        self.addCleanup(server.stop)
        url = server.create_database("shop_test").replace("+psycopg", "")
        password = url.partition("postgres:")[2].partition("@")[0]
        lock = server._process.files / "data" / "postmaster.pid"
        self.write("pid", lock.read_text().split()[0])
        self.check_suite(POSTGRESQL, url, "import os; os.kill(int(open('pid').read()), 3)", password)


if __name__ == "__main__":
    unittest.main()
