"""The command that clears what killed runs left: what it refuses, and what it never shows."""

from __future__ import annotations

from ..suite import Outcome, SuiteTestCase

SECRET = "tomsecret"


class CommandTests(SuiteTestCase):
    def refused(self, code: int, *words: str) -> Outcome:
        outcome = self.python(
            "-m", "protean_testing", *words, PROTEAN_TESTING_STATE=str(self.directory / "state")
        )
        self.assertEqual(outcome.code, code, outcome.out + outcome.err)
        self.assertNotIn(SECRET, outcome.out + outcome.err)
        self.assertNotIn("Traceback", outcome.err)
        return outcome

    def test_what_it_does_not_understand(self) -> None:
        for words in (
            [],
            ["clean"],
            [f"postgresql://ann:{SECRET}@h/shop_test"],
            ["clear", f"postgresql://ann:{SECRET}@h/shop_test"],
            ["clean", f"redis://:{SECRET}@h/1", f"redis://:{SECRET}@h/2"],
            ["clean", f"redis://:{SECRET}@h/1", f"--password={SECRET}"],
        ):
            with self.subTest(words):
                self.assertIn("clean URL", self.refused(2, *words).err)
        for url in (f"ftp://ann:{SECRET}@h/shop_test", SECRET, ""):
            self.assertIn("begins with one of: postgresql:", self.refused(1, "clean", url).err)

    def test_urls_that_cannot_be_read(self) -> None:
        for url in (f"redis://:{SECRET}@h:x/0", f"redis://:{SECRET}@h/shop", f"redis://:{SECRET}@[h/1"):
            self.refused(1, "clean", url)

    def test_servers_that_are_not_there(self) -> None:
        for url in (f"redis://:{SECRET}@127.0.0.1:1/0", f"message_db://ann:{SECRET}@127.0.0.1:1/shop_test"):
            self.refused(1, "clean", url, "--yes")

    def test_a_name_that_is_no_tests(self) -> None:
        said = self.refused(1, "clean", f"message_db://ann:{SECRET}@127.0.0.1:1/shop", "--yes").err
        self.assertIn("'shop' does not contain \"test\"", said)
