"""Prove whose a database, a file or a Redis is, before anything in it is touched.

There are three proofs. The *name* is plainly a test's, the *marker* is in the location itself and names that
location, and the *content* is nothing that would have to be destroyed. Every store asks here and brings only
what it alone can know: how its marker is read and written, and what is there.
"""

from .clean import clean_line
from .examine import Thing, examine
from .marker import Marker, new_marker
from .names import is_test_name, refusal, refuse_other_name
from .records import STATE_VARIABLE, Acquired, Left, acquire, all_left, left_over
from .watching import Signs

__all__ = [
    "STATE_VARIABLE",
    "Acquired",
    "Left",
    "Marker",
    "Signs",
    "Thing",
    "acquire",
    "all_left",
    "clean_line",
    "examine",
    "is_test_name",
    "left_over",
    "new_marker",
    "refusal",
    "refuse_other_name",
]
