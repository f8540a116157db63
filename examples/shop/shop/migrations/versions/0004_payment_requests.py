"""The key of the request that a payment came with: one that is repeated takes no money again."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("payments", sa.Column("request", sa.String(60)))
    op.create_index(op.f("ix_payments_request"), "payments", ["request"], unique=True)


def downgrade() -> None:
    op.drop_index(op.f("ix_payments_request"), "payments")
    op.drop_column("payments", "request")
