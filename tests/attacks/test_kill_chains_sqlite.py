"""Twenty runs on SQLite files, one after the other, each killed at a random moment, in every mode at once."""

from __future__ import annotations

from .test_sqlite import THEIRS, SQLiteAttackTestCase

MODES = {
    "absent": "Base.metadata",
    "beside": "Base.metadata",
    "generic": "Base.metadata, reset='generic'",
    "engine": "Base.metadata",
    "callable": "schema=schema",
    "empty": "empty=True",
    "adopt": "adopt=True",
    "adopt_wal": "adopt=True",
    "beside_wal": "Base.metadata",
}
"""How each file is used; what is in it before follows from its name."""

KEPT = {"keep": "Base.metadata, keep=True", "keep_beside": "Base.metadata, keep=True"}

SOURCE = """
import sqlite3
from sqlalchemy import create_engine

def schema(engine):
    Base.metadata.create_all(engine)

def store(name, arguments):
    url = "sqlite:///{place}/" + name + "_test.db"
    where = "engine=create_engine(url)" if name == "engine" else "url=url"
    return eval(f"SQLAlchemyStore({{arguments}}, {{where}}, name=name)", globals(), locals())

class ChainTests(DatabaseTestCase):
    stores = [store(name, arguments) for name, arguments in {modes!r}.items()]
    def test_1(self):
        for store in self.db.stores:
            if "adopt" in store.name or "beside" in store.name:
                connection = sqlite3.connect(f"{place}/{{store.name}}_test.db")
                connection.execute("UPDATE customer SET name = 0")
                connection.execute("DELETE FROM invoice")
                connection.commit()
                connection.close()
            if "adopt" not in store.name and store.name != "empty":
                place(store.engine)
    test_2 = test_3 = test_4 = test_1
"""


class KillChainTests(SQLiteAttackTestCase):
    def chain(self, modes: dict[str, str], seed: int) -> None:
        for name in modes:
            if name not in ("absent", "callable", "empty", "keep"):
                wal = "PRAGMA journal_mode = wal;" if name.endswith("wal") else ""
                self.made(wal + THEIRS, self.place / f"{name}_test.db")
        before = self.content()
        self.suite(SOURCE.format(place=self.place, modes=modes))
        self.kill_often(20, 0.6, seed=seed)
        outcome = self.run_suite()
        for _ in modes:
            if outcome.code:
                self.assertRefused(outcome, "clean sqlite:///")
                self.clean_line(outcome)
                outcome = self.run_suite()
        self.assertPassed(outcome, 4)
        if modes is KEPT:  # a run without it removes what was kept
            modes = dict.fromkeys(modes, "Base.metadata")
            self.suite(SOURCE.format(place=self.place, modes=modes))
            self.assertPassed(self.run_suite(), 4)
        self.assertEqual(self.content(), before)

    def test_every_mode(self) -> None:
        self.chain(MODES, 1)

    def test_a_kept_schema(self) -> None:
        self.chain(KEPT, 2)
