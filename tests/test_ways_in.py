"""Said on the store: its dialect, a URL that is known late, its sessions; connections of the driver."""

from __future__ import annotations

from protean_testing.servers.postgresql import start_postgresql

from .mariadb_server import MariaDB
from .suite import MODELS, SuiteTestCase

KINDS = """
class SQLiteTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_it(self):
        self.assertEqual(place(self.engine), 1)
        print("open", self.engine.dialect.name)

class FileTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, dialect="sqlite")]
    def test_it(self):
        self.assertEqual(place(self.engine), 1)
        print("sqlite", self.engine.dialect.name)

class ServerTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, dialect="postgresql"), RedisStore()]
    def test_it(self):
        self.assertEqual(place(self.engine), 1)
        print("postgresql", self.engine.dialect.name, self.engine.url.database)
"""


class DialectTests(SuiteTestCase):
    def outcome(self, **variables: str) -> tuple[list[str], str]:
        self.write("test_it.py", KINDS, before=MODELS)
        done = self.unittest("test_it", **variables)
        self.assertPassed(done, tests=3)
        return sorted(line.split(" protean_")[0] for line in done.out.splitlines()), done.err

    def test_each_store_is_where_it_says(self) -> None:
        said, _ = self.outcome()
        self.assertEqual(said, ["open sqlite", "postgresql postgresql", "sqlite sqlite"])
        said, _ = self.outcome(TEST_DB="postgresql")
        self.assertEqual(said, ["open postgresql", "postgresql postgresql", "sqlite sqlite"])
        said, _ = self.outcome(TEST_DB="memory", DATABASE_URL="postgresql://localhost/developer")
        self.assertEqual(said, ["open sqlite", "postgresql postgresql", "sqlite sqlite"])

    def test_a_given_database_of_that_dialect_is_used(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        server.create_database("shop_test")
        said, _ = self.outcome(TEST_DB="postgresql", DATABASE_URL=server.url("shop_test"))
        self.assertIn("postgresql postgresql shop_test", said)

    def test_test_db_that_decides_nothing_is_told(self) -> None:
        self.write("test_it.py", KINDS, before=MODELS)
        done = self.unittest("test_it.FileTests", TEST_DB="postgresql")
        self.assertIn("TEST_DB is set and has no effect: store 'database' has dialect='sqlite'", done.err)

    def test_what_contradicts_itself_is_refused(self) -> None:
        for arguments, says in {
            "dialect='postgres'": "say 'sqlite' or 'postgresql'",
            "dialect='sqlite', url='sqlite://'": "one of url=, engine= and dialect=",
            "url=7": "url= must be a URL",
            "url=lambda: None": "url= must be a URL",
            "session_factory=Session()": "session_factory=sessionmaker(",
        }.items():
            with self.subTest(arguments):
                source = f"with test_database(SQLAlchemyStore(Base.metadata, {arguments})): pass"
                self.write("it.py", source, before=MODELS)
                self.assertFailed(self.python("it.py"), says)


class LateURLTests(SuiteTestCase):
    def test_it_is_asked_for_once_on_first_use(self) -> None:
        suite = """
        started = []

        def url():
            started.append(1)
            return "sqlite:///late_test.db"

        class LateTests(DatabaseTestCase):
            stores = [SQLAlchemyStore(Base.metadata, url=url)]
            def check(self):
                self.assertEqual(started, [1])
                self.assertEqual(place(self.engine), 1)
            test_1 = test_2 = check

        class AgainTests(LateTests):
            pass

        assert not started

        from protean_testing.servers.redis import start_redis
        servers = []        # it ends with the process

        class RedisTests(DatabaseTestCase):
            stores = [RedisStore(lambda: servers.append(start_redis()) or servers[0].url())]
            def check(self):
                self.assertEqual(len(servers), 1)
                self.assertEqual(self.db.store("redis").client.incr("a"), 1)
            test_1 = test_2 = check
        """
        self.write("test_it.py", suite.replace("\n        ", "\n"), before=MODELS)
        self.assertPassed(self.unittest("test_it"), tests=6)


SESSIONS = """
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

class Special(Session):
    pass

factory = sessionmaker(class_=Special, expire_on_commit=False)
scoped = scoped_session(sessionmaker(class_=Special))

class Sessions:
    def check(self):
        with self.db.session() as session:
            self.assertIsInstance(session, Special)
            order = Order(customer="Ann")
            session.add(order)
            session.commit()
        self.assertEqual(order.customer, "Ann")
        self.assertEqual(order.id, 1)
        self.assertFalse(self.db.session(autoflush=False).autoflush)
    test_1 = test_2 = check

class MakerTests(Sessions, DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, session_factory=factory)]

class ClassTests(Sessions, DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, session_factory=partial(Special, expire_on_commit=False))]

class ScopedTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, session_factory=scoped)]
    def check(self):
        self.assertFalse(scoped.registry.has())
        self.db.session()
        scoped.add(Order(customer="Ann"))       # as the code under test does
        scoped.flush()
        self.assertEqual(scoped.query(Order).one().id, 1)
        self.assertIs(self.db.session().registry(), scoped())
        self.assertIsInstance(scoped(), Special)
    test_1 = test_2 = check

class OwnScopedTests(DatabaseTestCase):
    '''The application begins it itself, on its own engine, and leaves it open.'''
    stores = [SQLAlchemyStore(Base.metadata, session_factory=scoped, on_leak="fail")]
    def check(self):
        scoped(bind=self.engine).add(Order(customer="Ann"))
        scoped.commit()
        self.assertEqual(scoped.query(Order).one().id, 1)
    test_1 = test_2 = check

class AsyncTests(AsyncDatabaseTestCase):
    metadata = Base.metadata
    async def check(self):
        session = self.db.async_session()
        order = Order(customer="Ann")
        session.add(order)
        await session.commit()
        self.assertEqual(order.customer, "Ann")     # would be read again otherwise, outside of the greenlet
        own = create_async_engine(self.db.async_url)
        async with own.connect() as connection:
            self.assertEqual((await connection.execute(select(Order.customer))).all(), [("Ann",)])
        await own.dispose()
        self.assertTrue(self.db.async_session(expire_on_commit=True).sync_session.expire_on_commit)
    test_1 = test_2 = check

class SpecialAsync(AsyncSession):
    pass

class AsyncMakerTests(AsyncDatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, session_factory=async_sessionmaker(class_=SpecialAsync))]
    async def check(self):
        async with self.db.async_session() as session:
            self.assertIsInstance(session, SpecialAsync)
            self.assertTrue(session.sync_session.expire_on_commit)
            session.add(Order(customer="Ann"))
            await session.commit()
        self.assertIs(type(self.db.session()), Session)
    test_1 = test_2 = check

from sqlalchemy.ext.asyncio import async_scoped_session
async_scoped = async_scoped_session(async_sessionmaker(class_=SpecialAsync), scopefunc=asyncio.current_task)

class AsyncScopedTests(AsyncDatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, session_factory=async_scoped)]
    async def check(self):
        self.db.async_session()
        async_scoped.add(Order(customer="Ann"))
        await async_scoped.flush()
        self.assertIsInstance(async_scoped(), SpecialAsync)
    test_1 = test_2 = check
"""

CONNECTIONS = """
import gc, warnings
warnings.simplefilter("error")
opened = []

class ConnectTests(DatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, on_leak="fail", **WHERE)]
    def check(self):
        self.assertEqual(opened, [])
        connection = self.db.connect()
        print(type(connection).__module__, type(connection).__name__)
        cursor = connection.cursor()
        cursor.execute("INSERT INTO orders (id, customer) VALUES (1, 'Ann')")
        connection.commit()
        self.assertEqual(customers(self.engine), ["Ann"])
        cursor.execute("INSERT INTO orders (id, customer) VALUES (2, 'Bob')")  # left open
        opened.append(connection)
    test_1 = test_2 = check

    def tearDown(self):
        self.addCleanup(opened.clear)

    def test_its_arguments(self):
        connection = self.db.connect(**ARGUMENTS)
        cursor = connection.cursor()
        cursor.execute("SELECT 1 AS one")
        self.assertEqual(dict(cursor.fetchone()), {"one": 1})

    def test_closed_with_its_scope(self):
        with self.db.scope() as inner:
            connection = inner.connect()
        with self.assertRaises(Exception):
            connection.cursor().execute("SELECT 1")
"""

ASYNC_CONNECTIONS = """
class AsyncConnectTests(AsyncDatabaseTestCase):
    stores = [SQLAlchemyStore(Base.metadata, on_leak="fail", **WHERE)]
    async def check(self):
        connection = await self.db.async_connect()
        print(type(connection).__module__.split(".")[0], type(connection).__name__)
        await connection.execute("INSERT INTO orders (id, customer) VALUES (1, 'Ann')")
        if hasattr(connection, "commit"):
            await connection.commit()
        self.assertEqual(await asyncio.to_thread(customers, self.engine), ["Ann"])
    test_1 = test_2 = check
"""


class SessionTests(SuiteTestCase):
    def test_the_factory_of_the_store(self) -> None:
        self.write("test_it.py", "from functools import partial\n" + SESSIONS, before=MODELS)
        for place in ("memory", "sqlite", "postgresql"):
            with self.subTest(place):
                done = self.unittest("test_it", TEST_DB=place, PYTHONWARNINGS="error")
                self.assertPassed(done, tests=14)


class WithoutGreenletTests(SuiteTestCase):
    """As in an environment that is not for async SQLAlchemy: its asyncio module cannot be imported."""

    def test_sync_sessions_and_psycopg_s_own_connections(self) -> None:
        suite = """
            from sqlalchemy.orm import sessionmaker
            class OneTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, session_factory=sessionmaker(autoflush=False))]
                def test_session(self):
                    with self.db.session() as session:
                        self.assertFalse(session.autoflush)
            class TwoTests(AsyncDatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, dialect="postgresql")]
                async def check(self):
                    connection = await self.db.async_connect()
                    insert = "INSERT INTO orders (customer) VALUES ('Ann') RETURNING id"
                    self.assertEqual(await (await connection.execute(insert)).fetchone(), (1,))
                    await connection.commit()
                test_first = test_again = check
            """
        before = "import sys\nsys.modules['greenlet'] = None\n" + MODELS
        self.write("test_it.py", suite, before=before)
        self.assertPassed(self.python("-X", "utf8", "-m", "unittest", "test_it"), tests=3)


class ConnectTests(SuiteTestCase):
    def suite(self, where: str, arguments: str, source: str = CONNECTIONS) -> None:
        before = MODELS + f"import sqlite3\nWHERE = dict({where})\nARGUMENTS = dict({arguments})\n"
        self.write("test_it.py", source, before=before)

    def test_sqlite3(self) -> None:
        self.suite("", "")
        source = CONNECTIONS.replace("connection = self.db.connect(**ARGUMENTS)", ROWS)
        self.suite("", "timeout=1", source)
        for place in ("memory", "sqlite"):
            done = self.unittest("test_it", TEST_DB=place)
            self.assertPassed(done, tests=4)
            self.assertEqual(done.out.splitlines(), ["sqlite3 Connection"] * 2)

    def test_psycopg(self) -> None:
        rows = "row_factory=__import__('psycopg').rows.dict_row, autocommit=True"
        self.suite("dialect='postgresql'", rows)
        done = self.unittest("test_it")
        self.assertPassed(done, tests=4)
        self.assertEqual(done.out.splitlines(), ["psycopg Connection"] * 2)

    def test_psycopg2_if_the_url_says_so(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        server.create_database("shop_test")
        url = server.url("shop_test").replace("+psycopg", "+psycopg2")
        rows = "cursor_factory=__import__('psycopg2.extras').extras.RealDictCursor"
        self.suite(f"url={url!r}", rows)
        done = self.unittest("test_it")
        self.assertPassed(done, tests=4)
        self.assertEqual(done.out.splitlines(), ["psycopg2.extensions connection"] * 2)

    def test_pymysql(self) -> None:
        server = MariaDB()
        self.addCleanup(server.stop)
        with server.connect("mysql") as connection:
            connection.cursor().execute("CREATE DATABASE shop_test")
        rows = "cursorclass=__import__('pymysql.cursors').cursors.DictCursor"
        source = CONNECTIONS.replace("customer: Mapped[str]", "")
        self.suite(f"url={server.url('shop_test')!r}", rows, source)
        text = (self.directory / "test_it.py").read_text()
        text = text.replace("mapped_column(primary_key=True)\n    customer: Mapped[str]", STRING)
        (self.directory / "test_it.py").write_text(text)
        done = self.unittest("test_it")
        self.assertPassed(done, tests=4)
        self.assertEqual(done.out.splitlines(), ["pymysql.connections Connection"] * 2)

    def test_async_drivers(self) -> None:
        server = start_postgresql()
        self.addCleanup(server.stop)
        server.create_database("shop_test")
        for where, name in {
            "": "aiosqlite Connection",
            "dialect='postgresql'": "psycopg AsyncConnection",
            f"url={server.url('shop_test').replace('+psycopg', '+asyncpg')!r}": "asyncpg Connection",
        }.items():
            with self.subTest(name):
                self.suite(where, "", ASYNC_CONNECTIONS)
                done = self.unittest("test_it")
                self.assertPassed(done, tests=2)
                self.assertEqual(done.out.splitlines(), [name] * 2)

    def test_memory_that_only_its_engine_reaches(self) -> None:
        source = """
        from sqlalchemy import create_engine
        engine = create_engine("sqlite://")
        with test_database(SQLAlchemyStore(Base.metadata, engine=engine)) as db:
            db.connect()
        """
        self.write("it.py", source.replace("\n        ", "\n"), before=MODELS)
        self.assertFailed(self.python("it.py"), "Take a connection from there:  self.engine.raw_connection()")


ROWS = "connection = self.db.connect(**ARGUMENTS); connection.row_factory = sqlite3.Row"
STRING = """mapped_column(primary_key=True)
    customer: Mapped[str] = mapped_column(__import__("sqlalchemy").String(50))"""
