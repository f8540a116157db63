"""nose2 as the runner: a plugin that ends the run in time for its failures to count.

In ``unittest.cfg``, before nose2's own multiprocess plugin where that is used::

    [unittest]
    plugins = protean_testing.runners.nose2
"""

from __future__ import annotations

from typing import Any, ClassVar

from nose2 import events

from ..core import run_end
from ..core.worker_failures import Failures


class ProteanTesting(events.Plugin):  # type: ignore[misc]
    """Ends the run when nose2's is over, and that of a worker process when that is over."""

    configSection = "protean_testing"
    alwaysOn = True
    failures: ClassVar[Failures]

    def startTestRun(self, event: Any) -> None:
        run_end.owned_by("nose2")

    def stopTestRun(self, event: Any) -> None:
        errors = run_end.end_run()
        if "failures" in vars(type(self)):
            errors += self.failures.received()
        for error in errors:
            run_end.add_error(event.result, error)
        run_end.owned_by(None)

    def registerInSubprocess(self, event: Any) -> None:
        type(self).failures = Failures()
        event.pluginClasses.append(type(self))

    def stopSubprocess(self, event: Any) -> None:
        self.failures.send(run_end.end_run())
