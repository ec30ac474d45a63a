"""The result of an ablation: means over seeds, baselines, and verdicts on the differences from the base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, SpaceMetric
from ..api.metrics import score_range
from ..config.experiment import resolve_metrics
from ..config.resolve import parse_set
from ..evaluation.comparison import check_alike, in_one_space, shared_metrics, stored_statistics
from ..evaluation.scoring import build_metrics
from ..evaluation.significance import (
    LEVEL,
    SEED,
    few_stories,
    holm,
    interval,
    lead_over,
    mean_over_seeds,
    resampled_scores,
    resamples_for,
)
from ..plugin.registry import Registry
from ..runs.results import BETTER, NOT_SIGNIFICANT, WORSE, Evaluated, open_evaluated
from ..runs.run import Run
from ..runs.summary import summarise
from .plan import Ablation, Cell, Plan
from .running import Outcome

BASE = 0
"""The index of the base among the combinations."""
Groups = dict[int, list[Evaluated]]
"""The evaluations of each combination with finished runs, one per seed."""


def results(registry: Registry, plan: Plan, ablation: Ablation, outcome: Outcome) -> dict[str, Any]:
    """Return the result of the finished runs, as written to result.json.

    Raises VsrError if their evaluations cannot be read, or are not of the same windows.
    """
    done = sorted(outcome.done, key=plan.cells.index)
    combinations = [
        {
            "label": combination.label,
            "values": dict(combination.values),
            "seeds": [cell.seed for cell in done if cell.combination == number],
            "runs": [str(ablation.run(cell)) for cell in done if cell.combination == number],
            **_costs(ablation, [cell for cell in done if cell.combination == number]),
        }
        for number, combination in enumerate(plan.combinations)
    ]
    record: dict[str, Any] = {
        "folder": str(ablation.folder),
        "split": plan.split,
        "seeds": plan.seeds,
        "base": plan.combinations[BASE].label,
        "combinations": combinations,
        "stories": None,
        "windows": None,
        "cautions": [],
        "data": plan.fingerprint,
        "metrics": {},
        "not_compared": {},
        "failed": dict(outcome.failed),
        "not_run": [cell.name for cell in outcome.not_run],
    }
    return record | (_scores(registry, plan, ablation, done) if done else {})


def _costs(ablation: Ablation, cells: Sequence[Cell]) -> dict[str, Any]:
    """Return the costs of a combination: the parameters of its first run, and the mean seconds of training."""
    if not cells:
        return {"parameters": None, "seconds": None}
    folders = [ablation.run(cell) for cell in cells]
    return {
        "parameters": Run(folders[0]).facts().get("parameters"),
        "seconds": fmean(summarise(folder).seconds for folder in folders),
    }


def _scores(registry: Registry, plan: Plan, ablation: Ablation, done: Sequence[Cell]) -> dict[str, Any]:
    groups: Groups = {}
    for cell in done:
        groups.setdefault(cell.combination, []).append(open_evaluated(ablation.run(cell), plan.split))
    every = [each for group in groups.values() for each in group]
    stories = check_alike(every)
    shared, apart = shared_metrics(every)
    metrics, unavailable = build_metrics(resolve_metrics(registry, shared, parse_set(plan.metric_settings)))
    stored = {each.name: each.statistics() for each in every}
    statistics = {
        name: {each.name: stored_statistics(each, stored[each.name], name) for each in every} for name in metrics
    }
    comparisons = len(metrics) * len(groups.keys() - {BASE})
    resampled = resampled_scores(metrics, statistics, stories, resamples=resamples_for(comparisons))
    random = np.random.default_rng(SEED)
    rows = {name: _rows(name, metric, groups, resampled.get(name), random=random) for name, metric in metrics.items()}
    compared = _correct_verdicts([row for of_metric in rows.values() for row in of_metric.values()])
    return {
        "stories": every[0].result["stories"],
        "windows": every[0].result["windows"],
        "cautions": [few] if (few := few_stories(every[0].result["stories"])) else [],
        "comparisons": compared,
        "metrics": {
            name: {
                "scale": metric.scale,
                "better": metric.better,
                "scores": [rows[name].get(number) for number in range(len(plan.combinations))],
            }
            for name, metric in metrics.items()
        },
        "not_compared": {**apart, **unavailable},
    }


def _rows(
    name: str,
    metric: Metric | SpaceMetric,
    groups: Groups,
    resampled: Mapping[str, NDArray[np.float64]] | None,
    *,
    random: np.random.Generator,
) -> dict[int, dict[str, Any]]:
    """Return the score of each combination in one metric, compared with the base."""
    draws = {}
    if resampled is not None:
        draws = {number: np.stack([resampled[each.name] for each in group]) for number, group in groups.items()}
    rows: dict[int, dict[str, Any]] = {}
    for number, group in sorted(groups.items()):
        cells = [each.available[name] for each in group]
        means = mean_over_seeds(draws[number], random) if draws else None
        row: dict[str, Any] = {
            "value": fmean(cell["value"] for cell in cells),
            "ci95": None if means is None else interval(means, score_range(metric)),
            "seeds": [cell["value"] for cell in cells],
            "baselines": _baselines(cells),
        }
        if number != BASE and BASE in groups and _comparable(metric, [*groups[BASE], *group]):
            row |= {"difference": row["value"] - rows[BASE]["value"], "difference_ci95": None, "verdict": None}
            lead = None
            if draws:
                within = score_range(metric)
                lead = lead_over(draws[BASE], draws[number], metric.better, random, within=within)
            if lead:
                row |= {"difference_ci95": lead.ci95, "p": lead.p, "verdict": BETTER if lead.ahead else WORSE}
        rows[number] = row
    return rows


def _comparable(metric: Metric | SpaceMetric, evaluations: Sequence[Evaluated]) -> bool:
    """Whether scores can be compared; scores in a run's own space only if it is the same one."""
    return not isinstance(metric, SpaceMetric) or in_one_space(evaluations, metric)


def _baselines(cells: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each baseline that all seeds have, its mean and how many seeds are significantly better."""
    names = [
        name for name in cells[0]["baselines"] if all("value" in cell["baselines"].get(name, {}) for cell in cells)
    ]
    return {
        name: {
            "value": fmean(cell["baselines"][name]["value"] for cell in cells),
            "significantly_better": sum(cell["baselines"][name]["verdict"] == BETTER for cell in cells),
        }
        for name in names
    }


def _correct_verdicts(rows: Sequence[dict[str, Any]]) -> int:
    """Correct the verdicts for multiple comparisons, and return the number of comparisons."""
    compared = [row for row in rows if "p" in row]
    for row, p in zip(compared, holm([row["p"] for row in compared]), strict=True):
        row["p_holm"] = p
        if p >= LEVEL:
            row["verdict"] = NOT_SIGNIFICANT
    return len(compared)
