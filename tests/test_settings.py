"""What a project says in its own files decides as the environment would, and stands below it."""

from __future__ import annotations

from .suite import MODELS, SuiteTestCase

SUITE = """
class OrderTests(DatabaseTestCase):
    metadata = Base.metadata
    def test_place(self):
        self.assertEqual(place(self.engine), 1)
        print(self.database_url)
"""


class SettingsTests(SuiteTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.write("test_orders.py", SUITE, before=MODELS)

    def where(self, **variables: str) -> str:
        """The URL of the database that the suite was given."""
        outcome = self.unittest("test_orders", **variables)
        self.assertPassed(outcome, 1)
        return outcome.out

    def test_each_file(self) -> None:
        for name, text in {
            "pyproject.toml": '[tool.protean_testing]\ntest_db = "sqlite"\nsummary = true\n',
            "setup.cfg": "[metadata]\nname = shop\n[protean_testing]\ntest_db = sqlite\nsummary = true\n",
            "tox.ini": "[protean_testing]\ntest_db = sqlite\nsummary = 1\n",
        }.items():
            with self.subTest(name):
                self.write(name, text)
                self.assertNotIn("memdb", self.where())
                self.assertIn(
                    "protean_testing: schema of 'database' created once", self.unittest("test_orders").err
                )
                (self.directory / name).unlink()
        self.assertIn("memdb", self.where())

    def test_any_spelling_of_the_table(self) -> None:
        for text in (
            '[tool]\nprotean_testing = {test_db = "sqlite"}\n',
            '[ tool . protean_testing ]\ntest_db = "sqlite"\n',
        ):
            with self.subTest(text):
                self.write("pyproject.toml", text)
                self.assertNotIn("memdb", self.where())

    def test_the_environment_stands_above(self) -> None:
        self.write("pyproject.toml", '[tool.protean_testing]\ntest_db = "postgresql"\nkeep = true\n')
        for value in ("memory", ""):
            self.assertIn("memdb", self.where(TEST_DB=value))
        self.assertIn("postgresql", self.where(PROTEAN_TESTING_KEEP="0"))

    def test_the_nearest_file_that_has_a_section(self) -> None:
        self.write("pyproject.toml", '[tool.protean_testing]\ntest_db = "sqlite"\n')
        self.write("below/pyproject.toml", "[tool.other]\nname = 1\n")
        self.write("below/test_orders.py", SUITE, before=MODELS)
        below = "import os; os.chdir('below'); import unittest; unittest.main('test_orders')"
        outcome = self.python("-c", below)
        self.assertPassed(outcome, 1)
        self.assertNotIn("memdb", outcome.out)

    def test_mistakes_are_named(self) -> None:
        for text, said in {
            'test_bd = "sqlite"': "there is no setting 'test_bd' of protean_testing. Did you mean 'test_db'?",
            'url = "x"': "there is no setting 'url' of protean_testing. Known are: test_db, ",
            'test_db = "sqlit"': "test_db = 'sqlit' in pyproject.toml is none of memory, sqlite",
            "test_db = 1": "test_db = 1 means nothing: say text.",
            'keep = "maybe"': "keep = 'maybe' means nothing: say true or false.",
            "test_db = ": "pyproject.toml cannot be read: ",
        }.items():
            with self.subTest(text):
                self.write("pyproject.toml", f"[tool.protean_testing]\n{text}\n")
                self.assertFailed(self.unittest("test_orders"), "ConfigurationError: ", said)

    def test_what_has_no_effect_is_said(self) -> None:
        url = "postgresql://ann:s3cr3t@localhost/shop_dev"
        self.write("pyproject.toml", f'[tool.protean_testing]\ndatabase_url = "{url}"\n')
        outcome = self.unittest("test_orders")
        self.assertPassed(outcome, 1)
        self.assertIn(
            "database_url in pyproject.toml is set and has no effect: TEST_DB is not set", outcome.err
        )
        self.assertNotIn("s3cr3t", outcome.out + outcome.err)
