"""Comparison of evaluations of the same windows: paired differences with intervals and verdicts."""

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
"""The value in a signature for a space that did not train."""
WHOSE = ("checkpoint", "predictions")
"""Fields of a signature that identify the predictions: they differ in every comparison."""
MODEL = "model"
"""In the statistics: the run itself, not a baseline."""


def check_alike(evaluations: Sequence[Evaluated]) -> list[str]:
    """Return the story of each window. Raises VsrError if two evaluations are not of the same windows."""
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
    """Return the metrics that all evaluations measured with the same options, and why the others are not compared."""
    first = evaluations[0]
    shared, apart = [], {}
    for name in dict.fromkeys(name for each in evaluations for name in each.result["metrics"]):
        lacking = [str(each.place) for each in evaluations if name not in each.available]
        if lacking:
            apart[name] = f"not measured in {', '.join(lacking)}"
        elif other := next((each for each in evaluations if _form(each, name) != _form(first, name)), None):
            apart[name] = f"measured differently in {other.place} ({_form(other, name)}) than {_form(first, name)}"
        else:
            shared.append(name)
    return shared, apart


def shared_baselines(evaluations: Sequence[Evaluated], name: str) -> dict[str, float]:
    """Return the baselines that score the same in all evaluations, as those that depend on no model do."""
    first, *others = (
        {key: of.get("value") for key, of in each.available[name]["baselines"].items()} for each in evaluations
    )
    alike = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
    return {key: float(value) for key, value in alike.items() if value is not None}


def _form(evaluated: Evaluated, name: str) -> str:
    """Return a metric's own signature, without the evaluation's."""
    return str(evaluated.available[name]["signature"]).removesuffix(f"|{evaluated.result['signature']}")


def in_one_space(evaluations: Sequence[Evaluated], metric: SpaceMetric) -> bool:
    """Return whether the evaluations share the space of a metric: the frozen features of the same encoder.

    Embeddings that trained with a run are comparable to no others.
    """
    encoders = [(each.configuration() or {}).get(metric.space) for each in evaluations]
    frozen = all(each.facts.get(f"space.{metric.space}") == FROZEN for each in evaluations)
    return frozen and encoders[0] is not None and all(encoder == encoders[0] for encoder in encoders)


def compare(
    evaluations: Sequence[Evaluated], metrics: Mapping[str, Metric | SpaceMetric], stories: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the scores of each metric, one per evaluation: {"value", "ci95"}, and for all but the first {"difference",
    "difference_ci95", "verdict"}, the evaluation minus the first.

    Differences are paired: the same stories are resampled for all. `stories` is the story of each window. Raises
    VsrError if the stored statistics do not combine to the stored score.
    """
    stored = [each.statistics() for each in evaluations]
    statistics = {
        name: {
            str(number): stored_statistics(each, tensors, name)
            for number, (each, tensors) in enumerate(zip(evaluations, stored, strict=True))
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
                    f"repeat these with --set metrics.{name}.KEY=VALUE"
                )
    resampled = resampled_scores(metrics, statistics, stories)
    return {
        name: [_score(values[name], resampled.get(name), number, metric) for number in range(len(evaluations))]
        for name, metric in metrics.items()
    }


def stored_statistics(
    evaluated: Evaluated, tensors: Mapping[str, NDArray[np.float64]], name: str
) -> NDArray[np.float64]:
    """Return the statistics of a run's own predictions, (W, S). Raises VsrError if they are not stored."""
    try:
        return tensors[f"{name}/{MODEL}"]
    except KeyError as error:
        raise VsrError(f"{evaluated.folder}: has no statistics of {name}; {evaluated.remedy}") from error


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
    """Return the settings that differ, with the value of each evaluation, None where it has none.

    They are those of the runs' configurations and of the signatures, such as decoding.
    """
    configurations = [each.configuration() for each in evaluations]
    configured = [_flat(each) for each in configurations if each is not None]
    # External predictions have no configuration, and would differ in every setting.
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
