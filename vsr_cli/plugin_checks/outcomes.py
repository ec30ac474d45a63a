"""What a check found. Whatever the checked code does costs one line."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..errors import PluginError, VsrError

Check = tuple[str, Callable[[], str | None]]
"""What is looked for, in words, and the function that looks: it raises, or gives a note on what it measured."""


class BrokenPromiseError(Exception):
    """What a component does not do as its kind promises, in words for its author."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One check of a component."""

    check: str
    """What was looked for, e.g. "gradients reach all that trains"."""
    passed: bool
    detail: str
    """What is wrong, or what was measured, if anything."""

    def __str__(self) -> str:
        return f"{'ok' if self.passed else 'FAILED':<7} {self.check}" + (f": {self.detail}" if self.detail else "")


def demand(kept: bool, otherwise: str) -> None:
    """Raise BrokenPromiseError with these words unless a promise is kept."""
    if not kept:
        raise BrokenPromiseError(otherwise)


def outcome_of(check: Check) -> Outcome:
    """Make one check, with random numbers of its own."""
    title, look = check
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return Outcome(check=title, passed=True, detail=look() or "")
        except (BrokenPromiseError, PluginError, VsrError) as error:
            return Outcome(check=title, passed=False, detail=_one_line(error))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - that checked code may fail in any way is why it is checked
            detail = f"{_place(error)} raised {type(error).__name__}: {_one_line(error)}"
            return Outcome(check=title, passed=False, detail=detail.rstrip(": "))


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _place(error: BaseException) -> str:
    """Say in which line of the checked code an error arose: the last one outside of vsr and the libraries it calls."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_of_the_program_or_torch(Path(frame.filename))]
    last = (theirs or frames)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _is_of_the_program_or_torch(path: Path) -> bool:
    return Path(__file__).parents[1] in path.parents or "torch" in path.parts
