"""How much is tried: ``DEEP=1 python -m tests`` takes hours, and is for changes of what restores."""

import os

DEEP = "DEEP" in os.environ
