"""Splitting stories into train, validation and test: by story or group first, windows second."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SPLITS = ("train", "validation", "test")
HELD_OUT = ("test", "validation")
"""In the order in which a group of both would be held out."""


@dataclass(frozen=True)
class Membership:
    """What decides a story's split."""

    group: str
    """Stories of one group fall into one split."""
    official: str | None
    """The split that the source itself puts the story in."""


def assign_splits(stories: Mapping[str, Membership], *, validation: float, test: float, seed: int) -> dict[str, str]:
    """Give each story its split.

    A source's own test and validation stories stay there, and stories that it puts nowhere follow those of their
    group that it does; where it has a test but no validation split, the validation is carved from its train
    stories. Which groups are held out depends on their names and the seed, not on the order in which stories
    come. A split that is asked for gets at least one group where there are enough of them, and train always
    has one.
    """
    official = {split: {m.group for m in stories.values() if m.official == split} for split in SPLITS}
    assigned: dict[str, str] = {}
    for story, member in stories.items():
        own = member.official or next((split for split in HELD_OUT if member.group in official[split]), None)
        if own in HELD_OUT:
            assigned[story] = own
        elif member.official and official["validation"]:
            assigned[story] = member.official
    free = {story: member for story, member in stories.items() if story not in assigned}
    shares = {} if any(official.values()) else {"test": test}
    if not official["validation"]:
        shares["validation"] = validation
    return {**assigned, **_hold_out(free, shares, seed)}


def _hold_out(stories: Mapping[str, Membership], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Give whole groups to the splits that want a share, passing over groups that are larger than what is wanted."""
    sizes = Counter(member.group for member in stories.values())
    remaining = sorted(sizes, key=lambda group: _rank(group, seed))
    split_of: dict[str, str] = {}
    wanted = {split: max(1, round(share * len(stories))) for split, share in shares.items() if share > 0}
    splits = list(wanted)
    for index, split in enumerate(splits):
        kept_back = len(splits) - index  # a group for each split after this one, and for train
        taken = 0
        for group in list(remaining):
            if taken and (taken >= wanted[split] or len(remaining) <= kept_back):
                break
            if len(remaining) > 1 and taken + sizes[group] <= wanted[split]:
                remaining.remove(group)
                split_of[group] = split
                taken += sizes[group]
        if not taken and len(remaining) > 1:
            smallest = min(remaining, key=sizes.__getitem__)
            remaining.remove(smallest)
            split_of[smallest] = split
    return {story: split_of.get(member.group, "train") for story, member in stories.items()}


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def count_splits(splits: Sequence[str]) -> dict[str, int]:
    """Count members of each split, in the usual order, zero included."""
    counts = Counter(splits)
    return {split: counts[split] for split in SPLITS}
