"""Cutting stories into windows: four consecutive frames to read and the fifth to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..config.schema import CONTEXT_FRAMES

WINDOW_FRAMES = CONTEXT_FRAMES + 1


@dataclass(frozen=True)
class Window:
    """Five frames of a story by index, the last of them the target."""

    frames: tuple[int, ...]
    padded: bool = False
    """Whether its context repeats a frame because the story is short."""


@dataclass(frozen=True)
class Cut:
    """The windows of one story, and for each one that was left out the reason."""

    windows: tuple[Window, ...]
    dropped: tuple[str, ...]


def cut_windows(
    problems: Sequence[str | None],
    *,
    window: Literal["first", "sliding", "last"],
    short: Literal["drop", "pad"],
) -> Cut:
    """Cut a story whose frames have these problems (None: the frame has an image and a text).

    All five frames of a window have both halves; nothing is borrowed to fill one. A story of two to four frames
    is left out, or with `short="pad"` becomes one window: its final frame is the target, and the one before it
    is repeated until the context has four. The target is thus never among its inputs, as it is when a short
    story is padded to five frames.
    """
    candidates, too_short = _candidates(len(problems), window=window, short=short)
    kept: list[Window] = []
    dropped = list(too_short)
    for candidate in candidates:
        reason = next((problems[frame] for frame in candidate.frames if problems[frame]), None)
        if reason is None:
            kept.append(candidate)
        else:
            dropped.append(reason)
    return Cut(tuple(kept), tuple(dropped))


def _candidates(count: int, *, window: str, short: str) -> tuple[list[Window], list[str]]:
    if count < WINDOW_FRAMES:
        if short == "drop" or count < 2:
            return [], ["story_too_short"]
        return [Window((*repeat_last(range(count - 1)), count - 1), padded=True)], []
    last_start = count - WINDOW_FRAMES
    starts = {"first": [0], "last": [last_start], "sliding": list(range(last_start + 1))}[window]
    return [Window(tuple(range(start, start + WINDOW_FRAMES))) for start in starts], []


def repeat_last(frames: Sequence[int]) -> tuple[int, ...]:
    """Repeat the last of one to four frames until there are four: the seed's rule for a short context."""
    assert 1 <= len(frames) <= CONTEXT_FRAMES
    return (*frames, *[frames[-1]] * (CONTEXT_FRAMES - len(frames)))
