"""The currencies, countries and warehouses that the shop begins with."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

currencies = sa.table("currencies", sa.column("code"), sa.column("name"))
countries = sa.table("countries", sa.column("code"), sa.column("name"), sa.column("currency_code"))
warehouses = sa.table("warehouses", sa.column("code"), sa.column("country_code"), sa.column("priority"))


def upgrade() -> None:
    op.bulk_insert(
        currencies,
        [
            {"code": "EUR", "name": "Euro"},
            {"code": "CHF", "name": "Swiss franc"},
            {"code": "GBP", "name": "Pound sterling"},
        ],
    )
    op.bulk_insert(
        countries,
        [
            {"code": "AT", "name": "Austria", "currency_code": "EUR"},
            {"code": "DE", "name": "Germany", "currency_code": "EUR"},
            {"code": "FR", "name": "France", "currency_code": "EUR"},
            {"code": "CH", "name": "Switzerland", "currency_code": "CHF"},
            {"code": "GB", "name": "United Kingdom", "currency_code": "GBP"},
        ],
    )
    op.bulk_insert(
        warehouses,
        [
            {"code": "VIENNA", "country_code": "AT", "priority": 1},
            {"code": "LYON", "country_code": "FR", "priority": 2},
        ],
    )


def downgrade() -> None:
    for table in (warehouses, countries, currencies):
        op.execute(table.delete())
