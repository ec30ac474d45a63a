"""Splitting stories into train, validation and test: by story or group first, windows second."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Membership:
    """What decides a story's split."""

    group: str
    """Stories of one group fall into one split."""
    official: str | None
    """The split that the source itself puts the story in."""


def assign_splits(stories: Mapping[str, Membership], *, validation: float, test: float, seed: int) -> dict[str, str]:
    """Give each story its split.

    A source's own test and validation stories stay there; where it has a test but no validation split, the
    validation is carved from its train stories. Which groups are held out depends on their names and the seed,
    not on the order in which stories come. A split that is asked for gets at least one group where there are
    enough of them, and train always has one.
    """
    assigned = {story: member.official for story, member in stories.items() if member.official}
    has_official = bool(assigned)
    free = {
        story: member
        for story, member in stories.items()
        if member.official is None or (member.official == "train" and "validation" not in assigned.values())
    }
    held = {} if has_official else {"test": test}
    held["validation"] = 0.0 if has_official and "validation" in assigned.values() else validation
    return {**assigned, **_hold_out(free, held, seed)}


def _hold_out(stories: Mapping[str, Membership], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    sizes = Counter(member.group for member in stories.values())
    order = sorted(sizes, key=lambda group: _rank(group, seed))
    split_of: dict[str, str] = {}
    remaining = list(order)
    for split, share in shares.items():
        wanted = round(share * len(stories))
        if share > 0:
            wanted = max(wanted, 1)
        taken = 0
        while taken < wanted and len(remaining) > 1:
            group = remaining.pop(0)
            split_of[group] = split
            taken += sizes[group]
    return {story: split_of.get(member.group, "train") for story, member in stories.items()}


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def count_splits(splits: Sequence[str]) -> dict[str, int]:
    """Count members of each split, in the usual order, zero included."""
    counts = Counter(splits)
    return {split: counts[split] for split in SPLITS}
