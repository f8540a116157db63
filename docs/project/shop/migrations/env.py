from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
engine = config.attributes.get("engine") or engine_from_config(
    config.get_section(config.config_ini_section, {}), poolclass=pool.NullPool
)
with engine.connect() as connection:
    context.configure(connection)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
