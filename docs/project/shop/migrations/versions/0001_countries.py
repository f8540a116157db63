"""A table with rows that every installation has."""

from alembic import op
from sqlalchemy import Column, String

revision = "0001"
down_revision = None


def upgrade() -> None:
    country = op.create_table(
        "country", Column("code", String(2), primary_key=True), Column("name", String(50))
    )
    op.bulk_insert(country, [{"code": "nl", "name": "Netherlands"}, {"code": "pt", "name": "Portugal"}])


def downgrade() -> None:
    op.drop_table("country")
