"""The schema is created once per run and dropped once at its end, however the run goes."""

from __future__ import annotations

import signal
import subprocess
import sys

from . import interpreters
from .suite import RECORDER, SuiteTestCase

TWO_CLASSES = """
class FirstTests(DatabaseTestCase):
    stores = [Recorder()]
    def test_one(self): self.assertEqual(self.db.stores[0].rows, [])
    def test_two(self): self.db.stores[0].rows.append(2)

class SecondTests(DatabaseTestCase):
    stores = [Recorder()]                 # an equal store: the same schema
    def test_three(self): self.assertEqual(self.db.stores[0].rows, [])
"""


class OncePerRunTests(SuiteTestCase):
    def assertOnce(self, log: list[str], names: tuple[str, ...] = ("recorder",)) -> None:
        made = [line for line in log if not line.startswith("reset")]
        expected = [f"create {name}" for name in names] + [f"drop {name}" for name in reversed(names)]
        self.assertEqual(made, expected)
        self.assertTrue(all(line.startswith("drop") for line in log[len(log) - len(names) :]), log)

    def test_a_module(self) -> None:
        self.write("test_a.py", TWO_CLASSES, before=RECORDER)
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 3)
        self.assertOnce(outcome.log)

    def test_discovery_over_modules_that_share_a_store(self) -> None:
        self.write("test_a.py", TWO_CLASSES, before=RECORDER)
        self.write("test_b.py", TWO_CLASSES, before=RECORDER)
        outcome = self.unittest("discover")
        self.assertPassed(outcome, 6)
        self.assertOnce(outcome.log)

    def test_a_single_test(self) -> None:
        self.write("test_a.py", TWO_CLASSES, before=RECORDER)
        outcome = self.unittest("test_a.FirstTests.test_two")
        self.assertPassed(outcome, 1)
        self.assertOnce(outcome.log)

    def test_several_stores_are_dropped_in_reverse(self) -> None:
        self.write(
            "test_a.py",
            """
            class FirstTests(DatabaseTestCase):
                stores = [Recorder("one"), Recorder("two")]
                def test_one(self): pass
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 1)
        self.assertOnce(outcome.log, ("one", "two"))

    def test_what_declares_no_store_starts_nothing(self) -> None:
        source = TWO_CLASSES + "class PlainTests(unittest.TestCase):\n    def test_plain(self): pass\n"
        self.write("test_a.py", source, before=RECORDER)
        outcome = self.unittest("test_a.PlainTests")
        self.assertPassed(outcome, 1)
        self.assertEqual(outcome.log, [])

    def test_skipped_classes_start_nothing(self) -> None:
        source = TWO_CLASSES.replace("class", "@unittest.skip('not now')\nclass")
        plain = "class PlainTests(unittest.TestCase):\n    def test_plain(self): pass\n"
        self.write("test_a.py", source + plain, before=RECORDER)
        outcome = self.unittest("test_a")  # whether skipped tests count as run depends on Python's version
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertIn("OK (skipped=", outcome.err)
        self.assertEqual(outcome.log, [])

    def test_failfast(self) -> None:
        source = TWO_CLASSES.replace("self.db.stores[0].rows.append(2)", "self.fail('on purpose')")
        self.write("test_a.py", source + "    def test_four(self): pass\n", before=RECORDER)
        outcome = self.unittest("-f", "test_a")
        self.assertFailed(outcome, "on purpose")
        self.assertOnce(outcome.log)

    def test_system_exit_in_a_test(self) -> None:
        source = TWO_CLASSES.replace("self.db.stores[0].rows.append(2)", "raise SystemExit(3)")
        self.write("test_a.py", source, before=RECORDER)
        outcome = self.unittest("test_a")
        self.assertFailed(outcome)
        self.assertOnce(outcome.log)

    def test_system_exit_in_set_up_class(self) -> None:
        self.write(
            "test_a.py",
            TWO_CLASSES
            + """
class ThirdTests(DatabaseTestCase):
    stores = [Recorder()]
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        raise SystemExit(3)
    def test_five(self): pass
""",
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertEqual(outcome.code, 3)
        self.assertOnce(outcome.log)

    def test_a_raising_set_up_class(self) -> None:
        self.write(
            "test_a.py",
            """
            class BrokenTests(DatabaseTestCase):
                stores = [Recorder()]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.db.stores[0].rows.append("half made")
                    raise ValueError("on purpose")
                def test_one(self): pass

            class SecondTests(DatabaseTestCase):
                stores = BrokenTests.stores
                def test_two(self): self.assertEqual(self.db.stores[0].rows, [])
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "on purpose", "FAILED (errors=1)")
        self.assertEqual(outcome.ran, 1)
        self.assertOnce(outcome.log)

    def test_a_failed_create_is_raised_at_once_for_later_classes(self) -> None:
        self.write(
            "test_a.py",
            """
            class Broken(Recorder):
                def create_schema(self):
                    super().create_schema()
                    raise StoreError("half made", store=self.name)
            """
            + TWO_CLASSES.replace("Recorder()", "Broken()").replace("\n", "\n            "),
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertFailed(outcome, "errors=2")
        self.assertEqual(outcome.err.count("StoreError: half made"), 2)
        self.assertOnce(outcome.log)

    def test_a_failed_drop_fails_the_run_and_stops_no_other(self) -> None:
        source = """
            class Broken(Recorder):
                def drop_schema(self):
                    super().drop_schema()
                    raise StoreError("cannot be dropped", store=self.name)

            class FirstTests(DatabaseTestCase):
                stores = [Recorder("one"), Broken("two"), Recorder("three")]
                def test_one(self): pass
            """
        self.write("test_a.py", source, before=RECORDER)
        for flags in ([], ["-b"]):
            with self.subTest(flags=flags):
                outcome = self.unittest(*flags, "test_a")
                self.assertFailed(outcome, "StoreError: cannot be dropped", "the end of the run")
                self.assertNotIn("only named", outcome.err)  # a docstring of ours, as what the test is about
                self.assertOnce(outcome.log, ("one", "two", "three"))

    def test_a_suite_of_blocks_only(self) -> None:
        self.write(
            "test_a.py",
            """
            class PlainTests(unittest.TestCase):
                def test_one(self):
                    with test_database(Recorder()) as db: db.stores[0].rows.append(1)
                def test_two(self):
                    with test_database(Recorder()) as db: self.assertEqual(db.stores[0].rows, [])
            class Broken(Recorder):
                def drop_schema(self):
                    super().drop_schema()
                    raise StoreError("cannot be dropped", store=self.name)
            class BrokenTests(unittest.TestCase):
                def test_three(self):
                    with test_database(Broken("two")): pass
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a.PlainTests")
        self.assertPassed(outcome, 2)
        self.assertOnce(outcome.log)
        self.assertFailed(self.unittest("test_a.BrokenTests"), "cannot be dropped")

    def test_a_block_around_the_whole_run(self) -> None:
        self.write(
            "test_a.py",
            TWO_CLASSES
            + """
if __name__ == "__main__":
    with test_database(Recorder()) as db:
        ran = unittest.main(exit=False, argv=["test_a"])
        print("left", db.stores[0].name)
    with test_database(Recorder()):
        print("in the next run")
    sys.exit(not ran.result.wasSuccessful())
""",
            before=RECORDER,
        )
        outcome = self.python("test_a.py")
        self.assertPassed(outcome, 3)
        self.assertEqual(outcome.out, "left recorder\nin the next run\n")
        self.assertEqual([outcome.count("create recorder"), outcome.count("drop recorder")], [2, 2])

    def test_a_script_without_a_runner(self) -> None:
        self.write(
            "script.py",
            """
            with test_database(Recorder()) as db:
                db.stores[0].rows.append(1)
            """,
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        self.assertOnce(outcome.log)

    def test_a_block_of_a_script_can_drop(self) -> None:
        self.write(
            "script.py",
            """
            for _ in range(2):
                with test_database(Recorder(), drop=True) as db:
                    db.stores[0].rows.append(1)
                db.stores[0].log("after")
            """,
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual(outcome.code, 0, outcome.err)
        turn = ["create recorder", "reset recorder", "drop recorder", "after recorder"]
        self.assertEqual(outcome.log, turn * 2)

    def test_a_suite_run_by_a_test_does_not_end_the_outer_run(self) -> None:
        self.write(
            "test_a.py",
            """
            def inner_suite():
                class InnerTests(DatabaseTestCase):
                    stores = [Recorder("inner")]
                    def test_inner(self): pass
                return unittest.defaultTestLoader.loadTestsFromTestCase(InnerTests)

            class OuterTests(DatabaseTestCase):
                stores = [Recorder("outer")]
                def test_one(self):
                    self.db.stores[0].rows.append(1)
                    with open(os.devnull, "w") as nowhere:
                        done = unittest.TextTestRunner(stream=nowhere).run(inner_suite())
                    self.assertTrue(done.wasSuccessful())
                    self.assertEqual(self.db.stores[0].rows, [1])
                def test_two(self): self.assertEqual(self.db.stores[0].rows, [])
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertPassed(outcome, 2)
        self.assertOnce(outcome.log, ("outer", "inner"))

    def test_a_runner_that_never_calls_set_up_class(self) -> None:
        self.write(
            "script.py",
            TWO_CLASSES
            + """
result = unittest.TestResult()
for cls in FirstTests, SecondTests, FirstTests:
    for name in unittest.defaultTestLoader.getTestCaseNames(cls):
        cls(name).run(result)
result.stopTestRun()
assert result.wasSuccessful() and result.testsRun == 5, result.errors
""",
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual((outcome.code, outcome.err), (0, ""))
        self.assertOnce(outcome.log)

    def test_two_runs_in_one_process_are_two(self) -> None:
        self.write(
            "test_a.py",
            TWO_CLASSES
            + """
if __name__ == "__main__":
    for _ in range(2):
        unittest.main(exit=False)
""",
            before=RECORDER,
        )
        outcome = self.python("test_a.py")
        self.assertEqual(
            [line for line in outcome.log if "reset" not in line], ["create recorder", "drop recorder"] * 2
        )

    def test_ctrl_c_leaves_open_scopes_and_drops(self) -> None:
        self.write(
            "test_a.py",
            """
            import time
            class SlowTests(DatabaseTestCase):
                stores = [Recorder()]
                @classmethod
                def setUpClass(cls):
                    super().setUpClass()
                    cls.db.stores[0].rows.append("class data")
                def test_one(self):
                    print("ready", flush=True)
                    time.sleep(60)
            """,
            before=RECORDER,
        )
        process = interpreters.Program(
            [sys.executable, "-m", "unittest", "test_a"],
            cwd=self.directory,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:  # Python drops one that meets a destructor
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)
        self.assertNotEqual(process.returncode, 0)
        log = (self.directory / "log").read_text().splitlines()
        self.assertOnce(log)
        self.assertGreaterEqual(log.count("reset recorder"), 2, "the test's scope and the class's were left")

    def test_a_forked_child_refuses_and_drops_nothing(self) -> None:
        self.write(
            "test_a.py",
            """
            class ForkTests(DatabaseTestCase):
                stores = [Recorder()]
                def test_fork(self):
                    self.db.stores[0].rows.append("parent's")
                    if os.fork() == 0:
                        raise SystemExit(0)     # unittest reports it, and runs the rest in the child
                    _, status = os.wait()
                    self.assertNotEqual(status, 0)
                    self.assertEqual(self.db.stores[0].rows, ["parent's"])
                def test_later(self):
                    with open("ran", "a") as ran: print(os.getpid(), file=ran)

            class LaterTests(DatabaseTestCase):
                stores = [Recorder("later")]
                def test_later(self): pass
            """,
            before=RECORDER,
        )
        outcome = self.unittest("test_a")
        self.assertEqual(outcome.code, 0, outcome.err)
        self.assertIn("was forked from a test run", outcome.err)
        self.assertEqual(len((self.directory / "ran").read_text().splitlines()), 1, "only the parent runs on")
        self.assertOnce(outcome.log, ("recorder", "later"))

    def test_a_process_forked_before_any_hold_has_a_run_of_its_own(self) -> None:
        self.write(
            "script.py",
            """
            pid = os.fork()
            with test_database(Recorder("child" if pid == 0 else "parent")): pass
            if pid: os.wait()
            """,
            before=RECORDER,
        )
        outcome = self.python("script.py")
        self.assertEqual(outcome.code, 0, outcome.err)
        for name in ("child", "parent"):
            self.assertEqual((outcome.count(f"create {name}"), outcome.count(f"drop {name}")), (1, 1))

    def test_the_summary_is_printed_when_asked_for(self) -> None:
        self.write("test_a.py", TWO_CLASSES, before=RECORDER)
        self.assertNotIn("protean_testing:", self.unittest("test_a").err)
        outcome = self.unittest("test_a", PROTEAN_TESTING_SUMMARY="1")
        self.assertRegex(
            outcome.err,
            r"protean_testing: schema of 'recorder' created once in \d.\d\d s; \d+ resets, median .* dropped",
        )
