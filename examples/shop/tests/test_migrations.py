from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from protean_testing import DatabaseTestCase, SQLAlchemyStore
from shop.migrations import downgrade, is_current, migrate
from shop.models import Base

from .base import ShopTestCase


class MigrationTests(DatabaseTestCase):
    """These begin with an empty database, and every one of them finds it empty again."""

    stores = [SQLAlchemyStore(empty=True, name="empty")]

    def tables(self) -> set[str]:
        return set(inspect(self.engine).get_table_names())

    def rows(self, statement: str) -> list[tuple]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(statement))]

    def test_there_is_nothing_before_the_first_migration(self):
        self.assertEqual(self.tables(), set())
        self.assertFalse(is_current(self.engine))

    def test_the_migrations_make_what_the_models_describe(self):
        migrate(self.engine)
        with self.engine.connect() as connection:
            self.assertEqual(compare_metadata(MigrationContext.configure(connection), Base.metadata), [])

    def test_all_the_way_up_and_down_again(self):
        migrate(self.engine)
        self.assertEqual(len(self.tables()), 20)
        downgrade(self.engine, "base")
        self.assertEqual(self.tables(), {"alembic_version"})

    def test_a_country_of_our_own_has_no_tax_at_first(self):
        migrate(self.engine, "0002")
        with self.engine.begin() as connection:
            connection.execute(text("INSERT INTO countries VALUES ('IT', 'Italy', 'EUR')"))
        migrate(self.engine)
        self.assertEqual(
            self.rows("SELECT code, vat_percent FROM countries WHERE code IN ('AT', 'IT') ORDER BY code"),
            [("AT", 20), ("IT", 0)],
        )

    def test_customers_stay_when_a_revision_is_taken_back(self):
        migrate(self.engine)
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO customers (email, name, created_at, version) "
                    "VALUES ('ann@example.com', 'Ann', CURRENT_TIMESTAMP, 1)"
                )
            )
        downgrade(self.engine, "0002")
        self.assertEqual(self.rows("SELECT id, name FROM customers"), [(1, "Ann")])
        self.assertEqual(self.rows("SELECT code FROM countries WHERE code = 'SE'"), [])


class SchemaOfTheShopTests(ShopTestCase):
    """A test may even change the schema that all the others stand on."""

    def test_the_schema_is_that_of_today(self):
        self.assertTrue(is_current(self.engine))

    def test_a_schema_of_yesterday_is_noticed(self):
        downgrade(self.engine, "0002")
        self.assertFalse(is_current(self.engine))

    def test_the_schema_is_that_of_today_again(self):
        with self.engine.connect() as connection:
            self.assertEqual(compare_metadata(MigrationContext.configure(connection), Base.metadata), [])
