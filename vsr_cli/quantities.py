"""Counts and sizes as messages and tables write them."""

from __future__ import annotations


def counted(count: int, what: str, plural: str | None = None) -> str:
    """Return a count and its noun: "1 story", "3 stories". `plural` is that of an irregular noun or of a phrase."""
    regular = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count} {what if count == 1 else plural or regular}"


def size(count: float) -> str:
    """Return a number of bytes for people, in powers of 1024."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 or not count else "less than 1 MiB"
