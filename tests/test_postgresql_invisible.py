"""What is installed for the fast reset is not seen by those who look at the application's own schema."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, ForeignKey, Integer, MetaData, String, Table, inspect

from .postgresql_testcase import Mixin, everywhere

public, both = MetaData(), MetaData()
for metadata in (public, both):
    Table(
        "customer", metadata, Column("id", Integer, primary_key=True), Column("name", String(9), index=True)
    )
    Table("order", metadata, Column("id", Integer, primary_key=True), Column("c", ForeignKey("customer.id")))
Table("line", both, Column("id", Integer, primary_key=True), schema="billing")


@everywhere
class AutogenerateTests(Mixin):
    def setUp(self) -> None:
        super().setUp()
        self.run_sql("CREATE SCHEMA billing")
        backend = self.backend(schema=lambda: both.create_all(self.engine))
        backend.save()
        self.run_sql("INSERT INTO customer SELECT n FROM generate_series(1, 60) n")  # their keys are noted
        self.snapshot, self.reset_all = backend.save(), backend.reset

    def compared(self, metadata: MetaData, **options: Any) -> list[Any]:
        with self.engine.connect() as connection:
            return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    def test_alembic_sees_nothing_of_ours(self) -> None:
        for _ in range(2):
            self.assertEqual(self.compared(public), [])
            self.reset_all(self.snapshot)

    def test_alembic_of_all_schemas_passes_over_ours(self) -> None:
        def include_name(name: str | None, kind: str, parents: Any) -> bool:
            return not (kind == "schema" and name == "protean_testing")

        for _ in range(2):
            self.assertEqual(self.compared(both, include_schemas=True, include_name=include_name), [])
            self.run_sql("ALTER TABLE customer ADD added int")
            found = self.compared(both, include_schemas=True, include_name=include_name)
            self.assertEqual([change[0] for change in found], ["remove_column"])
            self.reset_all(self.snapshot)

    def test_inspection(self) -> None:
        seen = inspect(self.engine)
        self.assertEqual(set(seen.get_table_names()), {"customer", "order"})
        self.assertEqual(seen.get_sequence_names(), ["customer_id_seq", "order_id_seq"])
        self.assertEqual(seen.get_view_names(), [])
        self.assertEqual([key["referred_table"] for key in seen.get_foreign_keys("order")], ["customer"])
