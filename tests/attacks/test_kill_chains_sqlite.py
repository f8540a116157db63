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
    "keep": "Base.metadata, keep=True",
    "keep_companion": "Base.metadata, keep=True",
}
"""How each file is used; what is in it before follows from its name."""

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
    def test_every_mode(self) -> None:
        for name in MODES:
            if name not in ("absent", "callable", "empty", "keep"):
                wal = "PRAGMA journal_mode = wal;" if name.endswith("wal") else ""
                self.made(wal + THEIRS, self.place / f"{name}_test.db")
        before = self.content()
        self.write_suite(MODES)
        self.kill_often(20, 0.6, seed=1)
        outcome = self.run_suite()
        for _ in MODES:
            if outcome.code:
                self.assertRefused(outcome, "clean sqlite:///")
                self.clean_line(outcome)
                outcome = self.run_suite()
        self.assertPassed(outcome, 4)
        self.write_suite({name: how.removesuffix(", keep=True") for name, how in MODES.items()})
        self.assertPassed(self.run_suite(), 4)
        self.assertEqual(self.content(), before)

    def write_suite(self, modes: dict[str, str]) -> None:
        self.suite(SOURCE.format(place=self.place, modes=modes))
