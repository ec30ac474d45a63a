"""Splitting stories into train, validation and test, by story or group before windows (docs/how-to/splits.md)."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

from ..api import natural, nfc, read_table
from ..config.schema import DataOptions
from ..errors import VsrError, nearest

SPLITS = ("train", "validation", "test")
HELD_OUT = ("test", "validation")
"""In order of precedence, for a group that the source has in both."""
SLACK = 0.05
"""Tolerance for the sizes of runs, as a share of the requested size: among runs within it, the random seed decides.
If all runs deviate by more, because groups are large, the closest are used.
"""


BY_SHARE = ("auto", "official", "group", "block")
"""The ways of splitting that give each split its share of the stories, where the source does not decide."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The facts that decide the split of a story."""

    group: str
    """Stories of one group fall into one split."""
    official: str | None
    """The split of the story in the source."""


def assign_splits(stories: Mapping[str, Membership], options: DataOptions) -> dict[str, str | None]:
    """Return the split of each story, by id, according to `options.split`; None if the split file does not list it.

    The splits depend on the ids of the stories and on the random seed, not on the order of the stories.

    auto uses the splits of the source if there are any, and otherwise holds out whole groups; official requires splits
    of the source. group and block ignore them: group holds out random groups, block runs of neighbouring groups. file
    reads `options.split_file`. The name of a split assigns all stories to it.

    Raises VsrError if official finds no split in the source, or if the split file cannot be read, lists no story or
    divides a group.
    """
    shares = {"test": options.test, "validation": options.validation}
    match options.split:
        case "auto":
            return dict(_as_the_source(stories, shares, options.seed))
        case "official":
            if not any(member.official for member in stories.values()):
                raise VsrError("--split official: the source has no splits; use --split group")
            return dict(_as_the_source(stories, shares, options.seed))
        case "group":
            return dict(_hold_out(stories, shares, options.seed))
        case "block":
            return dict(_hold_out_runs(stories, shares, options.seed))
        case "file":
            assert options.split_file is not None
            return _as_listed(stories, options.split_file)
        case split:
            return dict.fromkeys(stories, split)


def _as_the_source(stories: Mapping[str, Membership], shares: Mapping[str, float], seed: int) -> Mapping[str, str]:
    """Return the splits of the source, completed where it has none.

    Its test and validation stories stay there, and stories without a split join the others of their group. If it has a
    test but no validation split, the validation split is taken from its training stories. Each requested split gets at
    least one group if there are enough, and train always gets one.
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
    wanted = {} if any(official.values()) else {"test": shares["test"]}
    if not official["validation"]:
        wanted["validation"] = shares["validation"]
    return {**assigned, **_hold_out(free, wanted, seed)}


def _hold_out(stories: Mapping[str, Membership], shares: Mapping[str, float], seed: int) -> Mapping[str, str]:
    """Assign whole groups to the requested splits, skipping groups that are larger than the remaining share."""
    sizes = Counter(member.group for member in stories.values())
    remaining = sorted(sizes, key=lambda group: _rank(group, seed))
    split_of: dict[str, str] = {}
    wanted = _wanted(shares, len(stories))
    splits = list(wanted)
    for index, split in enumerate(splits):
        reserved = len(splits) - index  # a group for each split after this one, and for train
        taken = 0
        for group in list(remaining):
            if taken and (taken >= wanted[split] or len(remaining) <= reserved):
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


def _hold_out_runs(stories: Mapping[str, Membership], shares: Mapping[str, float], seed: int) -> Mapping[str, str]:
    """Assign a run of neighbouring groups to each requested split; train gets the groups before and after.

    Groups are in the natural order of their first stories. The runs are adjacent, so that few groups have a neighbour
    in another split.
    """
    groups = list(dict.fromkeys(stories[story].group for story in sorted(stories, key=natural)))
    wanted = list(_wanted(shares, len(stories)).items())[: max(0, len(groups) - 1)]
    if not wanted:
        return dict.fromkeys(stories, "train")
    sizes = Counter(member.group for member in stories.values())
    before = [0, *accumulate(sizes[group] for group in groups)]  # stories before each group
    counts = [count for _, count in wanted]
    candidates = [_cut_runs(before, start, counts) for start in range(len(groups) - len(wanted) + 1)]
    misses = [_miss(before, cuts, counts) for cuts in candidates]
    near = max(min(misses), SLACK * sum(counts))
    cuts = min(
        (cuts for cuts, miss in zip(candidates, misses, strict=True) if miss <= near),
        key=lambda cuts: _rank(groups[cuts[0]], seed),
    )
    split_of = {
        group: split
        for (split, _), (start, end) in zip(wanted, pairwise(cuts), strict=True)
        for group in groups[start:end]
    }
    return {story: split_of.get(member.group, "train") for story, member in stories.items()}


def _cut_runs(before: Sequence[int], start: int, counts: Sequence[int]) -> list[int]:
    """Return the bounds of runs of groups, from group `start`, with about `counts` stories and at least one group each.

    `before` holds the number of stories before each group, and finally the number of all stories.
    """
    groups = len(before) - 1
    last = groups if start else groups - 1  # train has a group too
    cuts = [start]
    for number, count in enumerate(counts, start=1):
        goal = before[cuts[-1]] + count
        end = min(bisect_left(before, goal), groups)
        if goal - before[end - 1] < before[end] - goal:
            end -= 1
        cuts.append(min(max(end, cuts[-1] + 1), last - (len(counts) - number)))
    return cuts


def _miss(before: Sequence[int], cuts: Sequence[int], counts: Sequence[int]) -> int:
    """Return the sum of the differences between the actual and requested numbers of stories of runs."""
    return sum(
        abs(before[end] - before[start] - count) for (start, end), count in zip(pairwise(cuts), counts, strict=True)
    )


def _as_listed(stories: Mapping[str, Membership], path: Path) -> dict[str, str | None]:
    listed = read_splits(path, SPLITS)
    assigned = {story: listed.get(story) for story in stories}
    if not any(assigned.values()):
        which = f"{len(stories)} stories, e.g. {min(stories, default='')!r}"
        raise VsrError(f"{path}: lists none of the {which}; put the ids of the stories in the column story")
    first_of: dict[str, tuple[str, str]] = {}
    for story in sorted(stories):
        group, split = stories[story].group, assigned[story]
        if split is None:
            continue
        other, of_other = first_of.setdefault(group, (story, split))
        if of_other != split:
            what = f"divides the group {group!r} ({other!r} is in {of_other}, {story!r} in {split})"
            raise VsrError(f"{path}: {what}; put all of its stories into one split")
    return assigned


def _wanted(shares: Mapping[str, float], stories: int) -> dict[str, int]:
    """Return the requested number of stories of each split with a share."""
    return {split: max(1, round(share * stories)) for split, share in shares.items() if share > 0}


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()


def count_splits(splits: Iterable[str | None]) -> dict[str, int]:
    """Count members of each split, in the usual order, zero included; those of none are not counted."""
    counts = Counter(splits)
    return {split: counts[split] for split in SPLITS}


def read_groups(path: Path, *, group: str = "group", story: str = "story") -> dict[str, str]:
    """Return the group of each story of a CSV with these two columns. Rows without either are skipped.

    Raises VsrError if the file cannot be read, lacks a column, or lists two groups for a story.
    """
    groups: dict[str, str] = {}
    for line, name, value in _rows(path, story=story, value=group):
        if name and value and groups.setdefault(name, value) != value:
            raise VsrError(f"{path} line {line}: {name!r} has two groups ({groups[name]!r}, {value!r}); leave one")
    return groups


def read_splits(path: Path, known: Collection[str]) -> dict[str, str]:
    """Return the split of each story of a CSV with the columns story and split.

    Raises VsrError if the file cannot be read, lacks a column, or lists an unknown split or two splits for a story.
    """
    splits: dict[str, str] = {}
    for line, name, value in _rows(path, story="story", value="split"):
        where = f"{path} line {line}"
        if not name:
            raise VsrError(f"{where}: names no story for the split {value!r}; name it or remove the line")
        if value not in known:
            raise VsrError(f"{where}: {name!r} has the unknown split {value!r}; {nearest(value, known)}")
        if splits.setdefault(name, value) != value:
            raise VsrError(f"{where}: {name!r} has two splits ({splits[name]}, {value}); leave one")
    return splits


def _rows(path: Path, *, story: str, value: str) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the story and the value of each row that has either, without surrounding white space."""
    for row in read_table(path, {"story": story, "value": value}):
        if row.problem:
            raise VsrError(f"{path} line {row.line}: {row.problem}")
        name, of_it = nfc(row.cells["story"]), nfc(row.cells["value"])
        if name or of_it:
            yield row.line, name, of_it
