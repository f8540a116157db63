"""Twenty runs on MariaDB databases, one after the other, each killed at a random moment, in every mode."""

from __future__ import annotations

from .test_mariadb import HARM, THEIRS, MariaDBAttackTestCase

MODES = {"created": "metadata", "adopt": "adopt=True", "callable": "schema=metadata.create_all"}
"""How each database is used."""

SOURCE = """
import sqlalchemy as sa
metadata = sa.MetaData()
sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("t", sa.String(50)))

class ChainTests(DatabaseTestCase):
    stores = [
        eval(f"SQLAlchemyStore({{arguments}}, url={{url!r}}, name={{name!r}})")
        for name, (url, arguments) in {stores!r}.items()
    ]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for store in cls.stores:
            if store.name != "adopt":
                with store.engine.begin() as connection:
                    connection.exec_driver_sql("INSERT INTO orders (t) VALUES ('of the class')")

    def test_1(self):
        for store in self.stores:
            with store.engine.begin() as connection:
                for statement in {harm!r} if store.name != "callable" else ():
                    connection.exec_driver_sql(statement)
                if store.name != "adopt":
                    connection.exec_driver_sql("INSERT INTO orders (t) VALUES ('x')")
    test_2 = test_3 = test_4 = test_1
"""


class KillChainTests(MariaDBAttackTestCase):
    def test_chain(self) -> None:
        names = {f"{name}_test": (name, arguments) for name, arguments in MODES.items()}
        for database, (name, _) in names.items():
            self.server.create(database)
            if name != "callable":
                self.do(
                    *THEIRS,
                    "CREATE TRIGGER one BEFORE INSERT ON theirs FOR EACH ROW SET NEW.t = concat(NEW.t, '1')",
                    database=database,
                )
        before = {database: self.content(database) for database in names}
        stores = {name: (self.server.url(database), made) for database, (name, made) in names.items()}
        self.suite(SOURCE.format(stores=stores, harm=list(HARM)))
        killed = self.kill_often(20, 1.5, seed=8)
        self.assertGreater(killed, 10)
        outcome = self.run_suite()
        for database in names:
            if f"python -m protean_testing clean '{self.server.url(database).split('?')[0]}" in outcome.err:
                self.clean(self.server.url(database))
                outcome = self.run_suite()
        self.assertEqual((outcome.code, outcome.ran), (0, 4), outcome.err)
        for database in names:
            self.assertEqual(self.content(database), before[database])
            self.assertEqual(self.ours(database), [])
