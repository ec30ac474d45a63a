"""The space of a search: settings with a range or a list of values, parsed and checked before anything is trained."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config.experiment import TRAIN_SECTIONS
from ..errors import VsrError, nearest

EXAMPLE = "e.g. training.learning_rate=1e-4..1e-2:log or model.width=128,256"
NAME = ".name"
REFUSED = {
    "training.seed": "a seed is not a setting to choose; --set training.seed=N sets it for all trials",
    "training.best_metric": "is what the search minimizes; --set training.best_metric=NAME chooses it for all trials",
    "training.device": "does not change what is learned",
    "training.track": "does not change what is learned",
    "training.checkpoint_minutes": "does not change what is learned",
    "training.timeout_minutes": "does not change what is learned",
}


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """A setting of the search: a range from `low` to `high`, or `values`."""

    setting: str
    low: float | None = None
    high: float | None = None
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are tried."""
    values: tuple[str, ...] = ()

    @property
    def ends(self) -> list[str]:
        """The values to check before training: all of a list, or both ends of a range."""
        return list(self.values) or [self.text(end) for end in (self.low, self.high) if end is not None]

    def text(self, value: Any) -> str:
        """Return a value as `--set` takes it; numbers with the digits that tell them apart."""
        if isinstance(value, str):
            return value  # of a list, or an end as it is checked
        return str(round(value)) if self.whole else f"{value:.6g}"

    def record(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {**asdict(self), "values": list(self.values)}


def parse_space(words: Sequence[str]) -> list[Dimension]:
    """Parse "section.key=LOW..HIGH[:log][:int]" and "section.key=A,B". Raises VsrError with all mistakes."""
    space: list[Dimension] = []
    mistakes: list[str] = []
    for word in words:
        try:
            space.append(_parse(word))
        except VsrError as error:
            mistakes += error.lines
    settings = [each.setting for each in space]
    mistakes += [
        f"--search {each}: is searched twice; name it once" for each in set(settings) if settings.count(each) > 1
    ]
    if mistakes:
        raise VsrError(*mistakes)
    return sorted(
        space, key=lambda each: not each.setting.endswith(NAME)
    )  # options belong to the component named before


def _parse(word: str) -> Dimension:
    where = f"--search {word}"
    setting, equals, right = word.partition("=")
    section, _, key = setting.strip().replace("-", "_").rpartition(".")
    if not (equals and section and key and right.strip()):
        raise VsrError(f"{where}: not of the form section.key=VALUES; {EXAMPLE}")
    setting = f"{section}.{key}"
    if section not in TRAIN_SECTIONS:
        raise VsrError(f"{where}: section '{section}': unknown here; {nearest(section, TRAIN_SECTIONS)}")
    if section == "decoding":
        raise VsrError(
            f"{where}: decoding does not change the validation loss; compare 'vsr evaluate' with its options"
        )
    if setting in REFUSED:
        raise VsrError(f"{where}: {REFUSED[setting]}")
    if ".." in right:
        return _range(where, setting, right)
    values = tuple(dict.fromkeys(value.strip() for value in right.split(",") if value.strip()))
    if len(values) < 2:
        value = next(iter(values), right.strip())
        raise VsrError(f"{where}: a single value is no choice; set it with --set {setting}={value}")
    return Dimension(setting=setting, values=values)


def _range(where: str, setting: str, right: str) -> Dimension:
    match = re.fullmatch(r"\s*([^\s:]+?)\.\.([^\s:.]\S*?|\.\d\S*?)((?::\w+)*)\s*", right)
    kinds = match[3].split(":")[1:] if match else []
    try:
        assert match
        low, high = float(match[1]), float(match[2])
    except (AssertionError, ValueError) as error:
        raise VsrError(f"{where}: the ends of a range are numbers (got {right}); {EXAMPLE}") from error
    if unknown := [kind for kind in kinds if kind not in ("log", "int")]:
        raise VsrError(f"{where}: '{unknown[0]}' is unknown after a range; log and int are known")
    whole, log = "int" in kinds, "log" in kinds
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise VsrError(f"{where}: a range goes from a smaller number to a larger one (got {low:g} to {high:g})")
    if log and low <= 0:
        raise VsrError(f"{where}: a logarithmic range begins above 0 (got {low:g})")
    if whole and (low != round(low) or high != round(high)):
        raise VsrError(f"{where}: the ends of a range of whole numbers are whole (got {low:g} and {high:g})")
    return Dimension(setting=setting, low=low, high=high, log=log, whole=whole)


def assignments(space: Sequence[Dimension], chosen: Mapping[str, Any]) -> list[str]:
    """Return chosen values as `--set` takes them, in the order of the space."""
    return [f"{each.setting}={each.text(chosen[each.setting])}" for each in space]


def probes(space: Sequence[Dimension]) -> list[dict[str, str]]:
    """Return choices that together have every end and every listed value, others at their first."""
    first = {each.setting: each.ends[0] for each in space}
    return [first, *(first | {each.setting: end} for each in space for end in each.ends[1:])]


def distributions(space: Sequence[Dimension]) -> dict[str, Any]:
    """Return the space as Optuna has it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    found: dict[str, Any] = {}
    for each in space:
        if each.values:
            found[each.setting] = CategoricalDistribution(each.values)
            continue
        assert each.low is not None
        assert each.high is not None
        if each.whole:
            found[each.setting] = IntDistribution(round(each.low), round(each.high), log=each.log)
        else:
            found[each.setting] = FloatDistribution(each.low, each.high, log=each.log)
    return found
