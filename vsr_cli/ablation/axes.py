"""What an ablation varies, and the combinations of it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..config.experiment import TRAIN_SECTIONS
from ..errors import VsrError, nearest

SEED = "training.seed"
NAME = ".name"
"""The setting of a section that chooses its component."""
Values = dict[str, str]
"""One value of each setting that an ablation names."""


@dataclass(frozen=True)
class Axis:
    """One setting and the values that it takes, the first being the base's. With a single one, nothing varies."""

    setting: str
    """E.g. "temporal.name" or "model.width"."""
    values: tuple[str, ...]

    @property
    def title(self) -> str:
        """What it is called in tables: a part by its section alone."""
        return self.setting.removesuffix(NAME)


def part_axes(parts: Mapping[str, Sequence[str]]) -> list[Axis]:
    """Make an axis of each part that is named, {section: names}."""
    return [Axis(f"{section}{NAME}", tuple(names)) for section, names in parts.items() if names]


def grid_axes(words: Sequence[str]) -> list[Axis]:
    """Parse "section.key=value,value". Raises VsrError with all that are of another form or can be no axis."""
    axes, mistakes = [], []
    for word in words:
        place, equals, listed = word.partition("=")
        section, _, key = place.strip().replace("-", "_").rpartition(".")
        values = tuple(dict.fromkeys(value.strip() for value in listed.split(",") if value.strip()))
        if not (equals and section and key and values):
            mistakes.append(f"--grid {word}: not of the form section.key=value,value, e.g. --grid model.width=128,256")
        elif section not in TRAIN_SECTIONS:
            mistakes.append(f"--grid {word}: section '{section}': unknown here; {nearest(section, TRAIN_SECTIONS)}")
        elif f"{section}.{key}" == SEED:
            mistakes.append(f"--grid {word}: seeds are no axis, every combination has all of them; use --seeds N")
        else:
            axes.append(Axis(f"{section}.{key}", values))
    if mistakes:
        raise VsrError(*mistakes)
    return axes


def check_axes(axes: Sequence[Axis], assignments: Sequence[str]) -> None:
    """Raise VsrError if a setting is an axis twice, or an axis is set for all as well."""
    settings = [axis.setting for axis in axes]
    if twice := [setting for setting in dict.fromkeys(settings) if settings.count(setting) > 1]:
        raise VsrError(f"{twice[0].removesuffix(NAME)}: is varied twice; name all of its values in one place")
    for text in assignments:
        setting = text.partition("=")[0].strip().replace("-", "_")
        if setting in settings:
            raise VsrError(f"--set {text}: {setting} is varied in this ablation; leave it out in one of the two places")


def combinations(axes: Sequence[Axis], *, one_at_a_time: bool) -> list[Values]:
    """Return the combinations of values, the base first: all, or those that differ from the base in one value."""
    if one_at_a_time:
        base = {axis.setting: axis.values[0] for axis in axes}
        return [base, *(base | {axis.setting: value} for axis in axes for value in axis.values[1:])]
    settings = [axis.setting for axis in axes]
    return [dict(zip(settings, values, strict=True)) for values in itertools.product(*(axis.values for axis in axes))]


def label_of(values: Values, axes: Sequence[Axis]) -> str:
    """Name a combination by the values that vary: parts by their names, settings as "key=value"."""
    varied = [axis for axis in axes if len(axis.values) > 1]
    words = [
        values[axis.setting] if axis.setting.endswith(NAME) else f"{axis.setting}={values[axis.setting]}"
        for axis in varied
    ]
    return " ".join(words) or "as given"
