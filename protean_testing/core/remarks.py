"""What is said once, when the run has ended, to whom runs the tests."""

from __future__ import annotations

_lines: dict[str, None] = {}


def remark(*lines: str) -> None:
    """Have these lines said at the end of the run; one that is there already is said once."""
    _lines.update(dict.fromkeys(lines))


def remarks() -> list[str]:
    """What is to be said of the runs that have ended; each line is given once."""
    said = list(_lines)
    _lines.clear()
    return said
