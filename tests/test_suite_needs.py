"""What real suites need of a replacement for their own setUp and tearDown, on SQLite and on PostgreSQL."""

from __future__ import annotations

from protean_testing.servers.postgresql import PrivatePostgreSQL, start_postgresql

from .suite import MODELS, Outcome, SuiteTestCase

APPLICATION = """
from sqlalchemy import create_engine
from sqlalchemy.orm import scoped_session, sessionmaker

class Shop:
    '''An application that owns its engine, and a scoped session as many have.'''
    engine = None
    session = scoped_session(sessionmaker())
    def start(self, url):
        self.engine = create_engine(url)
        self.session.remove()
        self.session.configure(bind=self.engine)
        return self
    def stop(self):
        self.session.remove()
        self.engine.dispose()
    def order(self, customer="c"):
        order = Order(customer=customer)
        self.session.add(order)
        self.session.commit()
        return order.id
shop = Shop()
"""

MIGRATIONS = {
    "migrations/env.py": """
        from alembic import context
        with context.config.attributes["engine"].connect() as connection:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
            connection.commit()
        """,
    "migrations/script.py.mako": "",
    "migrations/versions/one.py": """
        import sqlalchemy as sa
        from alembic import op
        revision, down_revision = "one", None
        def upgrade():
            key = sa.Column("id", sa.Integer, primary_key=True)
            op.create_table("orders", key, sa.Column("customer", sa.String))
            countries = op.create_table("countries", sa.Column("code", sa.String(2), primary_key=True))
            op.bulk_insert(countries, [{"code": code} for code in ("de", "fr", "it")])
        def downgrade():
            op.drop_table("countries")
            op.drop_table("orders")
        """,
    "migrated.py": """
        from alembic import command
        from alembic.config import Config
        def config(engine):
            config = Config()
            config.set_main_option("script_location", "migrations")
            config.attributes["engine"] = engine
            return config
        def migrate(engine): command.upgrade(config(engine), "head")
        def demigrate(engine): command.downgrade(config(engine), "base")
        """,
}


class SuiteNeedsTests(SuiteTestCase):
    server: PrivatePostgreSQL

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.server = start_postgresql()
        cls.addClassCleanup(cls.server.stop)
        cls.numbers = iter(range(1, 1000))

    def assertPasses(self, suite: str, tests: int, *, before: str = MODELS + APPLICATION) -> list[Outcome]:
        """The suite passes in memory, on a SQLite file and on PostgreSQL, and leaves nothing there."""
        self.write("test_a.py", suite, before=before)
        name = f"needs_{next(self.numbers)}_test"
        url = self.server.create_database(name)
        outcomes = []
        for variables in ({}, {"TEST_DB": "sqlite"}, {"TEST_DB": "postgresql", "DATABASE_URL": url}):
            with self.subTest(variables):
                outcomes.append(self.unittest("test_a", **variables))
                self.assertPassed(outcomes[-1], tests)
        self.server.drop_database(name)
        return outcomes

    def test_an_application_with_the_url_from_us(self) -> None:
        self.assertPasses(
            """
            class ShopTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    shop.start(cls.database_url)
                    cls.addClassCleanup(shop.stop)
                def check(self):
                    self.assertEqual(shop.order(), 1)
                    self.assertEqual(shop.order(), 2)
                test_1 = test_2 = check
                def test_3_a_session_left_in_the_registry(self):
                    shop.session.remove()
                    self.assertEqual(shop.session.query(Order).count(), 0)
            """,
            3,
        )

    def test_a_url_that_goes_through_alembic_configuration(self) -> None:
        suite = """
            from alembic.config import Config
            from sqlalchemy import create_engine
            class ConfigurationTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    config = Config()
                    config.set_main_option("sqlalchemy.url", self.database_url)
                    url = config.get_main_option("sqlalchemy.url")
                    self.assertEqual(url, self.database_url)
                    engine = create_engine(url)
                    self.addCleanup(engine.dispose)
                    self.assertEqual(place(engine), 1)
                test_1 = test_2 = check
            """
        self.assertPasses(suite, 2)
        self.assertPassed(self.unittest("test_a", TEST_DB="postgresql"), 2)  # a socket in the URL

    def test_an_application_with_a_fresh_engine_for_each_test(self) -> None:
        self.assertPasses(
            """
            class ShopTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self):
                    super().setUp()
                    shop.start(self.database_url)
                    self.addCleanup(shop.stop)
                def check(self):
                    self.assertEqual(shop.order(), 1)
                    self.assertEqual(customers(shop.engine), ["c"])
                test_1 = test_2 = test_3 = check
            """,
            3,
        )

    def test_an_engine_that_the_application_owns(self) -> None:
        self.assertPasses(
            """
            if "DATABASE_URL" in os.environ:
                url = os.environ["DATABASE_URL"]
            elif "TEST_DB" in os.environ:
                url = "sqlite:///application_test.db"
            else:
                url = "sqlite://"            # its own private memory, which nobody else can reach
            shop.start(url)
            class ShopTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, engine=lambda: shop.engine)]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    shop.order("class")
                def check(self):
                    self.assertIs(self.engine, shop.engine)
                    self.assertEqual(shop.order(), 2)
                    self.assertEqual(customers(shop.engine), ["c", "class"])
                test_1 = test_2 = test_3 = check
            """,
            3,
        )

    def test_private_memory_that_starts_empty_is_stamped(self) -> None:
        self.write(
            "test_a.py",
            """
            class ShopTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                def setUp(self):
                    shop.start("sqlite://")
                    self.addCleanup(shop.stop)
                    self.db.stores[0].stamp(shop.engine)
                def check(self):
                    self.assertEqual(shop.order(), 2)
                    self.assertEqual(customers(shop.engine), ["c", "class"])
                test_1 = test_2 = test_3 = check
            """,
            before=MODELS + APPLICATION,
        )
        self.assertPassed(self.unittest("test_a"), 3)

    def test_schema_by_migrations_with_their_rows(self) -> None:
        for name, source in MIGRATIONS.items():
            self.write(name, source)
        self.assertPasses(
            """
            from migrated import migrate
            class MigratedTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(schema=migrate)]
                def check(self):
                    with self.session() as session:
                        codes = session.scalars(text("SELECT code FROM countries ORDER BY code")).all()
                        self.assertEqual(codes, ["de", "fr", "it"])
                        version = session.scalar(text("SELECT version_num FROM alembic_version"))
                        self.assertEqual(version, "one")
                        session.execute(text("DELETE FROM countries WHERE code <> 'de'"))
                        session.execute(text("UPDATE countries SET code = 'xx'"))
                        session.execute(text("INSERT INTO countries VALUES ('yy')"))
                        session.execute(text("DELETE FROM alembic_version"))
                        session.commit()
                test_1 = test_2 = test_3 = check
            """,
            3,
        )

    def test_schema_by_the_applications_own_call(self) -> None:
        self.assertPasses(
            """
            calls = []
            def create_everything(engine):
                calls.append(1)
                Base.metadata.create_all(engine)
            async def create_async(engine):
                async with engine.begin() as connection:
                    await connection.run_sync(Base.metadata.create_all)
            class AShopTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(schema=create_everything)]
                def check(self):
                    self.assertEqual((place(self.engine), len(calls)), (1, 1))
                test_1 = test_2 = check
            """,
            2,
        )

    def test_an_adopted_schema_is_kept_with_its_rows(self) -> None:
        self.assertPasses(
            """
            if "DATABASE_URL" in os.environ:
                url = os.environ["DATABASE_URL"]
            else:
                url = f"sqlite:///adopted_{os.environ.get('TEST_DB')}_test.db"
            existing = create_engine(url)
            Base.metadata.create_all(existing)
            assert place(existing, "kept") == 1
            class AdoptTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(adopt=True, url=url)]
                def check(self):
                    self.assertEqual(place(self.engine), 2)
                    with self.session() as session:
                        session.execute(text("DELETE FROM orders WHERE customer = 'kept'"))
                        session.commit()
                test_1 = test_2 = check
            import atexit
            @atexit.register
            def kept():
                assert customers(existing) == ["kept"], customers(existing)
                existing.dispose()
                print("kept", flush=True)
            """,
            2,
        )

    def test_writes_of_a_subprocess(self) -> None:
        outcomes = self.assertPasses(
            """
            import subprocess
            WRITER = "import sys; from test_a import *; print(place(create_engine(sys.argv[1]), 'sub'))"
            class SubprocessTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    if "vfs=memdb" in self.database_url: return
                    written = subprocess.check_output([sys.executable, "-c", WRITER, self.database_url])
                    self.assertEqual(written, b"1\\n")
                    self.assertEqual(customers(self.engine), ["sub"])
                    print("written")
                test_1 = test_2 = check
            """,
            2,
        )
        self.assertEqual([outcome.out.count("written") for outcome in outcomes], [0, 2, 2])

    def test_cycles_self_references_and_foreign_keys_on_or_off(self) -> None:
        self.assertPasses(
            """
            from sqlalchemy import event
            class Node(Base):
                __tablename__ = "nodes"
                id: Mapped[int] = mapped_column(primary_key=True)
                parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id", ondelete="RESTRICT"))
                leaf_id: Mapped[int | None] = mapped_column(
                    ForeignKey("leaves.id", use_alter=True, name="fk_leaf", ondelete="RESTRICT"))
            class Leaf(Base):
                __tablename__ = "leaves"
                id: Mapped[int] = mapped_column(primary_key=True)
                node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="RESTRICT"))
            class CycleTests(DatabaseTestCase):
                metadata = Base.metadata
                def check(self):
                    engine = create_engine(self.database_url)
                    self.addCleanup(engine.dispose)
                    if engine.dialect.name == "sqlite" and self.foreign_keys:
                        event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA foreign_keys = ON"))
                    with Session(engine) as session:
                        session.add_all([Node(id=1), Node(id=2, parent_id=1)])
                        session.flush()
                        session.add(Leaf(id=1, node_id=2))
                        session.flush()
                        session.get(Node, 1).leaf_id = 1
                        session.commit()
                        self.assertEqual(session.query(Node).count(), 2)
                def test_1(self): self.foreign_keys = True; self.check()
                def test_2(self): self.foreign_keys = False; self.check()
                def test_3(self): self.foreign_keys = True; self.check()
            """,
            3,
        )

    def test_a_schema_that_a_test_broke_is_repaired(self) -> None:
        self.assertPasses(
            """
            class BreakingTests(DatabaseTestCase):
                metadata = Base.metadata
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    place(cls.engine, "class")
                def run_sql(self, *statements):
                    with self.engine.begin() as connection:
                        for statement in statements: connection.execute(text(statement))
                def check(self):
                    self.assertEqual(customers(self.engine), ["class"])
                    self.assertEqual(place(self.engine), 2)
                    self.assertNotIn("made_by_test", str(self.tables()))
                def tables(self):
                    from sqlalchemy import inspect
                    return inspect(self.engine).get_table_names()
                def test_1(self): self.check(); self.run_sql("DROP TABLE items", "DROP TABLE orders")
                def test_2(self): self.check(); self.run_sql("ALTER TABLE orders ADD COLUMN extra INTEGER")
                def test_3(self): self.check(); self.run_sql("ALTER TABLE orders RENAME TO made_by_test")
                def test_4(self): self.check(); self.run_sql("CREATE TABLE made_by_test (id INTEGER)",
                                                             "INSERT INTO made_by_test VALUES (1)")
                def test_5(self): self.check(); Base.metadata.drop_all(self.engine)
                def test_6(self): self.check(); self.run_sql("CREATE INDEX made_by_test ON orders (customer)")
                def test_7(self): self.check(); self.assertNotIn("made_by_test", self.indexes())
                def indexes(self):
                    from sqlalchemy import inspect
                    return [index["name"] for index in inspect(self.engine).get_indexes("orders")]
            """,
            7,
        )

    def test_a_class_may_ask_for_an_empty_database(self) -> None:
        for name, source in MIGRATIONS.items():
            self.write(name, source)
        self.assertPasses(
            """
            from migrated import migrate, demigrate
            from sqlalchemy import inspect
            class MigrationTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(empty=True)]
                def check(self):
                    self.assertEqual(inspect(self.engine).get_table_names(), [])
                    migrate(self.engine)
                    self.assertIn("countries", inspect(self.engine).get_table_names())
                def test_1(self): self.check()
                def test_2(self): self.check(); demigrate(self.engine)
                def test_3(self): self.check()
            class OtherTests(DatabaseTestCase):
                metadata = Base.metadata
                def test_4(self): self.assertEqual(place(self.engine), 1)
            """,
            4,
        )

    def test_a_transaction_left_open_is_met_with_a_bounded_wait_and_a_name(self) -> None:
        outcomes = self.assertPasses(
            """
            left = []
            class LeavingTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, name="shop", wait=0.2)]
                def test_1(self):
                    session = Session(self.engine)
                    session.add(Order(customer="uncommitted"))
                    session.flush()
                    left.append(session)
                def test_2(self):
                    self.assertEqual(place(self.engine), 1)
                    self.assertEqual(customers(self.engine), ["c"])
            """,
            2,
        )
        for outcome in outcomes:
            self.assertIn("LeakWarning", outcome.err)
            self.assertIn("'shop'", outcome.err)
            self.assertIn("test_1", outcome.err)

    def test_sessions_of_a_failed_set_up_do_not_stop_the_next_test(self) -> None:
        self.write(
            "test_a.py",
            """
            class FailingTests(DatabaseTestCase):
                metadata = Base.metadata
                def setUp(self):
                    self.mine = self.db.session()
                    self.mine.add(Order(customer="uncommitted"))
                    self.mine.flush()
                    if "test_1" in self.id(): raise ValueError("broken on purpose")
                    self.mine.rollback()
                def test_1(self): pass
                def test_2(self): self.assertEqual(customers(self.engine), [])
            """,
            before=MODELS,
        )
        url = self.server.create_database("hygiene_test")
        for variables in ({}, {"TEST_DB": "postgresql", "DATABASE_URL": url}):
            with self.subTest(variables):
                outcome = self.unittest("test_a", PYTHONWARNINGS="error", **variables)
                self.assertFailed(outcome, "broken on purpose", "FAILED (errors=1)")

    def test_several_databases_in_one_process(self) -> None:
        self.assertPasses(
            """
            from sqlalchemy import Column, Integer, MetaData, Table
            warehouse = MetaData()
            shelves = Table("shelves", warehouse, Column("id", Integer, primary_key=True))
            class BothTests(DatabaseTestCase):
                stores = [SQLAlchemyStore(Base.metadata, name="shop"),
                          SQLAlchemyStore(warehouse, name="warehouse", url="sqlite:///warehouse_test.db")]
                def check(self):
                    self.assertEqual(place(self.db.store("shop").engine), 1)
                    with self.db.store("warehouse").engine.begin() as connection:
                        self.assertEqual(connection.execute(shelves.select()).all(), [])
                        connection.execute(shelves.insert())
                test_1 = test_2 = check
            """,
            2,
        )
