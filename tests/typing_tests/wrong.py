"""What a type checker must refuse. Each comment names the error that its line is to give."""

from __future__ import annotations

from protean_testing import DatabaseTestCase, Snapshot, Store, test_database, uses_database
from protean_testing.domain import DomainTestCase, drain, test_domain

with test_database("sqlite://") as db:  # arg-type
    db.sesion()  # attr-defined
    db.reset(1)  # call-arg
    number: int = db.url  # assignment


class OrderTests(DatabaseTestCase):
    metadata = "orders"  # assignment
    stores = ["orders"]  # list-item

    def test_url(self) -> None:
        self.database_url.rollback()  # attr-defined


@uses_database(1)  # arg-type
def test_plain() -> None: ...


class Nothing(Store):
    pass


Nothing()  # abstract


class Wrong(Store):
    reset_after = "never"  # assignment

    def reset_data(self, snapshot: Snapshot) -> None: ...  # override

    async def create_schema(self) -> int:  # override
        return 1

    def left_open(self, snapshot: Snapshot) -> list[int]:  # override
        return [1]


class WrongDomain(DomainTestCase):
    on_leak = "always"  # assignment
    verify = "yes"  # assignment


test_domain()  # call-arg
drain(until=1)  # arg-type
