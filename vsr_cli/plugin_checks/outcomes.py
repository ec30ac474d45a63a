"""Results of checks. Whatever the checked code does, the result is one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from ..errors import PluginError, VsrError

Subject = TypeVar("Subject")
Check = tuple[str, Callable[[Subject], str | None]]
"""A promise in words, and the function that checks it: it raises, or returns a note on what it measured, if any."""


class ContractError(Exception):
    """A component breaks the contract of its kind; the message is for its author."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One check of a component."""

    check: str
    """The promise, e.g. "works in bf16"."""
    passed: bool
    detail: str
    """What is wrong, or what was measured; may be empty."""

    def __str__(self) -> str:
        return f"{'ok' if self.passed else 'FAILED':<7} {self.check}" + (f": {self.detail}" if self.detail else "")


def require(condition: bool, message: str) -> None:
    """Raise ContractError with the message unless the condition holds."""
    if not condition:
        raise ContractError(message)


def outcome_of(check: Check[Subject], subject: Subject) -> Outcome:
    """Run one check, with a random seed of its own."""
    title, run = check
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return Outcome(check=title, passed=True, detail=run(subject) or "")
        except (ContractError, PluginError, VsrError) as error:
            return Outcome(check=title, passed=False, detail=_one_line(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - checked code may fail in any way
            detail = f"{_location(error)} raised {type(error).__name__}: {_one_line(error)}"
            return Outcome(check=title, passed=False, detail=detail.rstrip(": "))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _location(error: BaseException) -> str:
    """Return the line of the checked code that raised: the last one outside of vsr and torch."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_ours_or_torch(Path(frame.filename))]
    last = (theirs or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _is_ours_or_torch(path: Path) -> bool:
    return Path(__file__).parents[1] in path.parents or "torch" in path.parts
