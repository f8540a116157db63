"""The machine's clock, also while a test has frozen or moved time."""

from __future__ import annotations

import time
from functools import partial

# freezegun replaces each name that is bound to one of these functions, in every module. A wait for a
# transaction that was left open then never ends, since no time passes. It does not look into a partial.
now = partial(time.time)
monotonic = partial(time.monotonic)
perf_counter = partial(time.perf_counter)
sleep = partial(time.sleep)
