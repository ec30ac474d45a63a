"""Evaluations of the same windows beside each other, with how sure their differences are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, SpaceMetric
from ..api.metrics import score_range
from ..errors import VsrError
from ..runs.results import Evaluated
from .significance import compared, interval, resampled_scores

FROZEN = "frozen-features"
"""What a signature says of a space that did not train."""
WHOSE = ("checkpoint", "predictions")
"""What a signature says of whose predictions were scored: they differ in every comparison."""
MODEL = "model"
"""In the statistics: the run itself, beside its baselines."""


def check_alike(evaluations: Sequence[Evaluated]) -> list[str]:
    """Return the story of each window. Raises VsrError if two evaluations are not of one data's same windows."""
    first, *others = evaluations
    windows = _windows(first)
    for other in others:
        data, theirs = first.facts.get("data"), other.facts.get("data")
        if data != theirs:
            raise VsrError(
                f"{other.place}: was scored on other data than {first.place} (fingerprint {theirs}, not {data}); "
                "evaluate both on the same with --data DIR"
            )
        if _windows(other) != windows:
            apart = len(set(_windows(other)) ^ set(windows))
            raise VsrError(
                f"{other.place}: was not scored on the windows of {first.place} ({apart} are in one of them alone); "
                "score both anew on the same windows"
            )
    return [story for story, _ in windows]


def _windows(evaluated: Evaluated) -> list[tuple[str, int]]:
    return [(item["story"], int(item["start"])) for item in evaluated.predictions()]


def shared_metrics(evaluations: Sequence[Evaluated]) -> tuple[list[str], dict[str, str]]:
    """Return the metrics that all evaluations have in the same form, and why the others cannot be compared."""
    first = evaluations[0]
    shared, apart = [], {}
    for name in dict.fromkeys(name for each in evaluations for name in each.result["metrics"]):
        lacking = [str(each.place) for each in evaluations if name not in each.available]
        if lacking:
            apart[name] = f"not measured in {', '.join(lacking)}"
        elif other := next((each for each in evaluations if _form(each, name) != _form(first, name)), None):
            apart[name] = f"measured otherwise in {other.place} ({_form(other, name)}) than {_form(first, name)}"
        else:
            shared.append(name)
    return shared, apart


def _form(evaluated: Evaluated, name: str) -> str:
    """Return a metric's own signature, without what the evaluation's says."""
    return str(evaluated.available[name]["signature"]).removesuffix(f"|{evaluated.result['signature']}")


def in_one_space(evaluations: Sequence[Evaluated], metric: SpaceMetric) -> bool:
    """Whether a metric that compares in a run's own space did so in the same one: the frozen features of one encoder.

    An embedding that trained with its run is a space of its own, in which nothing else has a place.
    """
    encoders = [(each.configuration() or {}).get(metric.space) for each in evaluations]
    frozen = all(each.facts.get(f"space.{metric.space}") == FROZEN for each in evaluations)
    return frozen and encoders[0] is not None and all(encoder == encoders[0] for encoder in encoders)


def compare(
    evaluations: Sequence[Evaluated], metrics: Mapping[str, Metric | SpaceMetric], stories: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return each metric's scores, one of each evaluation, in their order: {"value", "ci95"}, and of all but the first
    {"difference", "difference_ci95", "verdict"}: theirs less the first's.

    The same stories are drawn for all, so the differences are paired. `stories` names each window's. Raises VsrError
    if a metric makes something else of what was stored than its evaluation says.
    """
    stored = [each.statistics() for each in evaluations]
    statistics = {
        name: {
            str(number): stored_statistics(each, kept, name)
            for number, (each, kept) in enumerate(zip(evaluations, stored, strict=True))
        }
        for name in metrics
    }
    values = {
        name: [metric.combine(statistics[name][str(number)])[name] for number in range(len(evaluations))]
        for name, metric in metrics.items()
    }
    for name, found in values.items():
        for each, value in zip(evaluations, found, strict=True):
            if not math.isclose(value, each.available[name]["value"], rel_tol=1e-6, abs_tol=1e-9):
                raise VsrError(
                    f"{each.place}: its {name} was measured with other options; "
                    f"give them as they were, with --set metrics.{name}.KEY=VALUE"
                )
    resampled = resampled_scores(metrics, statistics, stories)
    return {
        name: [_score(values[name], resampled.get(name), number, metric) for number in range(len(evaluations))]
        for name, metric in metrics.items()
    }


def stored_statistics(evaluated: Evaluated, kept: Mapping[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    """Find the statistics of a run's own predictions, (W, S). Raises VsrError if they are not kept."""
    try:
        return kept[f"{name}/{MODEL}"]
    except KeyError as error:
        raise VsrError(f"{evaluated.folder}: keeps no statistics of {name}; {evaluated.remedy}") from error


def _score(
    values: Sequence[float],
    resampled: Mapping[str, NDArray[np.float64]] | None,
    number: int,
    metric: Metric | SpaceMetric,
) -> dict[str, Any]:
    score: dict[str, Any] = {"value": values[number], "ci95": None}
    if resampled is not None:
        score["ci95"] = interval(resampled[str(number)], score_range(metric))
    if number == 0:
        return score
    score |= {"difference": values[number] - values[0], "difference_ci95": None, "verdict": None}
    if resampled is not None:
        found = compared(resampled[str(number)], resampled["0"], metric)
        score |= {"difference_ci95": found["ci95"], "verdict": found["verdict"]}
    return score


def configuration_differences(evaluations: Sequence[Evaluated]) -> dict[str, list[Any]]:
    """Return the settings in which the evaluations differ: of each, its value in every one, None where it has none.

    These are the runs' configurations, and what the scores' signatures say of decoding and the like.
    """
    configurations = [each.configuration() for each in evaluations]
    configured = [_flat(each) for each in configurations if each is not None]
    # What has no configuration, as others' predictions have none, differs in every setting: that would tell nothing.
    keys = [key for key in dict.fromkeys(key for each in configured for key in each) if _differ(configured, key)]
    found = {key: [None if each is None else _flat(each).get(key) for each in configurations] for key in keys}
    signed = [
        {f"signature.{name}": value for name, value in each.facts.items() if name not in WHOSE} for each in evaluations
    ]
    keys = [key for key in dict.fromkeys(key for each in signed for key in each) if _differ(signed, key)]
    return found | {key: [each.get(key) for each in signed] for key in keys}


def _differ(settings: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(each.get(key) != settings[0].get(key) for each in settings)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
