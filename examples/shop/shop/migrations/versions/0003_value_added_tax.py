"""Value-added tax: a rate for every country, and Sweden and its krona as well."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

currencies = sa.table("currencies", sa.column("code"), sa.column("name"))
countries = sa.table(
    "countries", sa.column("code"), sa.column("name"), sa.column("currency_code"), sa.column("vat_percent")
)
RATES = {"AT": 20, "DE": 19, "FR": 20, "CH": 8, "GB": 20}


def upgrade() -> None:
    op.add_column("countries", sa.Column("vat_percent", sa.Integer, nullable=False, server_default="0"))
    for code, percent in RATES.items():
        op.execute(countries.update().where(countries.c.code == code).values(vat_percent=percent))
    op.bulk_insert(currencies, [{"code": "SEK", "name": "Swedish krona"}])
    op.bulk_insert(countries, [{"code": "SE", "name": "Sweden", "currency_code": "SEK", "vat_percent": 25}])


def downgrade() -> None:
    op.execute(countries.delete().where(countries.c.code == "SE"))
    op.execute(currencies.delete().where(currencies.c.code == "SEK"))
    op.drop_column("countries", "vat_percent")
