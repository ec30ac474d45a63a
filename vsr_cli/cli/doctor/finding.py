"""One line of `vsr doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

State = Literal["ok", "absent", "warning", "problem"]
"""Absent: optional, and not there. Warning: works, with a consequence. Problem: a command will fail."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found about one thing, and what to do if it is not as it should be."""

    group: str
    name: str
    state: State = "ok"
    value: str
    remedy: str | None = None

    def record(self) -> dict[str, Any]:
        """Return the finding for JSON."""
        return dict(vars(self))
