"""Our reset as each role, and the ways that need no more than SQLAlchemy and psycopg."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from psycopg import sql
from sqlalchemy import create_engine, make_url

from protean_testing.servers.postgresql import PrivatePostgreSQL
from protean_testing.stores.postgresql import PostgreSQLBackend
from protean_testing.stores.sql.backend import Database

from .measuring import Way
from .places import (
    Case,
    Session,
    Where,
    connected,
    create_database,
    create_tables,
    fill,
    metadata,
    write,
)

PLAIN, ROWS = "plain", "with_rows"
"""Databases that ways start from: with the tables, and with the rows of a class too."""

PUT_ROWS = (
    "INSERT INTO shared SELECT * FROM saved.shared; SELECT setval('shared_id_seq', max(id)) FROM shared"
)


@dataclass(frozen=True)
class Ground:
    """Where the ways of one case are measured."""

    server: PrivatePostgreSQL
    where: Where
    case: Case
    made: list[str] = field(default_factory=list)

    @property
    def template(self) -> str:
        """A database with what is there before a test."""
        return f"{ROWS if self.case.rows else PLAIN}_{self.case.tables}_{self.case.rows}_test"

    def make_template(self) -> None:
        """Create it."""
        create_database(self.server, self.template)
        with connected(self.server, self.template) as session:
            create_tables(session, self.case.tables)
            fill(session, self.case.rows)
            session.execute("CREATE SCHEMA saved; CREATE TABLE saved.shared AS SELECT * FROM shared")
            session.execute("GRANT ALL ON SCHEMA public TO PUBLIC")
            session.execute("VACUUM ANALYZE")

    def copy(self, name: str) -> str:
        """A database like it. Returns its name."""
        self.made.append(f"{name}_test")
        create_database(self.server, self.made[-1], template=self.template)
        return self.made[-1]

    def drop(self) -> None:
        """Drop all copies, and what they were copied from."""
        for name in (*self.made, self.template):
            self.server.drop_database(name)

    def write(self, session: Session) -> None:
        """What a test does, committed."""
        with session.transaction():
            write(session, self.case)


def ours(ground: Ground, role: str) -> Way:
    """The reset of this project."""
    server, case, name = ground.server, ground.case, f"ours_{role}_test"
    user = "postgres" if role in ("superuser", "application") else role
    create_database(server, name, owner=user)
    url = make_url(server.url(name, user=user))
    engine = create_engine(url)
    backend = PostgreSQLBackend(Database(name="benchmark", url=url, engine=lambda: engine, private=True))
    backend.check(())
    backend.acquire()
    with connected(server, name, user) as session:
        create_tables(session, case.tables)
    backend.created()
    backend.save()
    application = connected(server, name, "application" if role == "application" else user)
    if case.rows:
        fill(application, case.rows)
    snapshot = backend.save()

    def close() -> None:
        application.close()
        backend.close()
        engine.dispose()
        server.drop_database(name)

    return Way(
        f"ours, {role}",
        lambda: ground.write(application),
        lambda: backend.reset(snapshot),
        lambda: backend._connection.raw,
        close,
    )


def _all(*ends: Callable[[], None]) -> Callable[[], None]:
    def close() -> None:
        for end in ends:
            end()

    return close


def truncate(ground: Ground) -> Way:
    """Every table in one statement."""
    session = connected(ground.server, ground.copy("truncate"))
    names = [f"t{number}" for number in range(ground.case.tables)] + ["shared"]
    statement = f"TRUNCATE {', '.join(names)} RESTART IDENTITY; " + (PUT_ROWS if ground.case.rows else "")
    return Way(
        "TRUNCATE all",
        lambda: ground.write(session),
        lambda: session.execute(statement.encode()),
        lambda: session,
        session.close,
    )


def delete(ground: Ground) -> Way:
    """The loop over SQLAlchemy's ``sorted_tables``."""
    name = ground.copy("delete")
    session, engine = connected(ground.server, name), create_engine(ground.server.url(name))
    tables = list(reversed(metadata(ground.case.tables).sorted_tables))

    def reset() -> None:
        with engine.begin() as connection:
            for table in tables:
                connection.execute(table.delete())
            if ground.case.rows:
                connection.exec_driver_sql(PUT_ROWS)

    return Way(
        "DELETE all",
        lambda: ground.write(session),
        reset,
        lambda: session,
        _all(session.close, engine.dispose),
    )


def rollback(ground: Ground) -> Way:
    """An outer transaction that the code under test may not commit, on the one connection that it may use."""
    engine = create_engine(ground.server.url(ground.copy("rollback")))
    connection = engine.connect()
    session: Session = connection.connection.driver_connection  # type: ignore[assignment]
    connection.begin()

    def test() -> None:
        with connection.begin_nested():
            write(session, ground.case)

    def reset() -> None:
        connection.get_transaction().rollback()  # type: ignore[union-attr]
        connection.begin()

    return Way("rollback", test, reset, lambda: session, _all(connection.close, engine.dispose))


def clone(ground: Ground) -> Way:
    """A database of its own for every test, copied from a template, and a connection to it."""
    name, strategy = "clone_test", "wal_log" if ground.where == "disk" else "file_copy"
    admin = connected(ground.server, "postgres")
    names = {"name": sql.Identifier(name), "template": sql.Identifier(ground.template)}
    create = sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY " + strategy).format(**names)
    admin.execute(create)
    sessions = [connected(ground.server, name)]

    def reset() -> None:
        sessions.pop().close()
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))
        admin.execute(create)
        sessions.append(connected(ground.server, name))

    def close() -> None:
        sessions.pop().close()
        admin.close()
        ground.server.drop_database(name)

    return Way("template clone", lambda: ground.write(sessions[0]), reset, lambda: sessions[0], close)


def recreate(ground: Ground) -> Way:
    """Schema per test: ``metadata.drop_all`` and ``create_all``."""
    name = ground.copy("recreate")
    session, engine = connected(ground.server, name), create_engine(ground.server.url(name))
    tables = metadata(ground.case.tables)

    def reset() -> None:
        tables.drop_all(engine)
        tables.create_all(engine)
        if ground.case.rows:
            session.execute(PUT_ROWS.encode())

    return Way(
        "drop, create",
        lambda: ground.write(session),
        reset,
        lambda: session,
        _all(session.close, engine.dispose),
    )
