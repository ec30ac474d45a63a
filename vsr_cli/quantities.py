"""Counts and sizes as messages and tables write them."""

from __future__ import annotations


def counted(count: int, what: str, plural: str | None = None) -> str:
    """Return a count and its noun: "1 story", "3 stories". `plural` is that of an irregular noun or of a phrase."""
    regular = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural or regular}"


def size(count: float) -> str:
    """Return a number of bytes in powers of 1024, with three significant digits: "412 KiB", "1.5 GiB"."""
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 100 or unit == "bytes" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"
