"""An evaluation as Markdown, for a terminal, a pull request or a paper's draft."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..escaping import visible
from ..quantities import counted
from ..runs.results import Evaluated
from .formatting import best_of, legend, marks, short
from .provenance import copied_shares, described_baselines, how_predicted, leaks_line, teacher_forced_numbers


def markdown(
    evaluated: Evaluated,
    examples: Mapping[str, Mapping[str, Any]],
    *,
    facts: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Return the scores beside their baselines, the cautions and facts about them, and some predictions by title.

    An example is a line of predictions.jsonl; `facts` are those of `provenance`.
    """
    result = evaluated.result
    lines = [
        f"# {plain(evaluated.name)}: {result['split']} split",
        "",
        f"{counted(result['windows'], 'window')} of {counted(result['stories'], 'story')}, {how_predicted(evaluated)}.",
        "",
        *scores_beside_baselines(evaluated),
        "",
    ]
    for caution in result["cautions"]:
        lines += [f"**Caution: {plain(caution)}.**", ""]
    lines += [f"- {name}: {meaning}" for name, meaning in described_baselines(evaluated).items() if meaning]
    lines += [f"- {title}: {share}" for title, share in copied_shares(result).items()]
    for name, cell in result["metrics"].items():
        if "unavailable" in cell:
            lines.append(f"- {name} is unavailable: {plain(cell['unavailable'])}")
        elif cell.get("caution"):
            lines.append(f"- {plain(cell['caution'])}")
    if missing := result.get("missing"):
        lines.append(f"- **windows without a prediction, which are not in the scores: {missing}**")
    if leaks := leaks_line(result["leaks"]):
        lines.append(f"- left out of the scores: {leaks}")
    if numbers := teacher_forced_numbers(result):
        listed = ", ".join(f"{name} {value}" for name, value in numbers.items())
        lines.append(f"- teacher-forced, not comparable with the scores above: {listed}")
    for title, found in (facts or {}).items():
        lines += ["", f"**{title}**", "", *(f"- {key}: {plain(value)}" for key, value in found.items())]
    for title, example in examples.items():
        lines += [
            "",
            f"**{title}** ({plain(example['story'])}, from frame {example['start'] + 1})",
            "",
            f"> predicted: {plain(example['prediction'])}",
            ">",
            f"> actual: {plain(example['reference'])}",
        ]
    return "\n".join([*lines, "", "`{}`".format(visible(result["signature"]).replace("`", "'")), ""])


def chosen_examples(evaluated: Evaluated) -> dict[str, dict[str, Any]]:
    """Return the best, the median and the worst prediction by the first metric that can order them, by title."""
    predictions = evaluated.predictions()
    for name, cell in evaluated.available.items():
        scores = {row: item["scores"].get(name) for row, item in enumerate(predictions)}
        scored = {row: score for row, score in scores.items() if score is not None}
        if not scored or cell["better"] == "one":
            continue
        ordered = sorted(scored, key=lambda row: float(scored[row]), reverse=cell["better"] == "higher")
        indices = {"best": 0, "median": (len(ordered) - 1) // 2, "worst": len(ordered) - 1}
        shown = indices if len(ordered) >= len(indices) else {"best": 0}
        return {f"{title} by {name}": predictions[ordered[index]] for title, index in shown.items()}
    return {}


def plain(text: str) -> str:
    """Escape a text for Markdown and put it on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", visible(" ".join(text.split())))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """Return the lines of a table, the first columns, of words, left-aligned and the others right-aligned."""
    align = [*[":--"] * words, *["--:"] * (len(head) - words)]
    return [f"| {' | '.join(row)} |" for row in (head, align, *rows)]


def scores_beside_baselines(evaluated: Evaluated) -> list[str]:
    """Return the lines of the table of scores and its legend: a row for each metric, a column for each baseline."""
    bounded = any(cell["upper_bound"] is not None for cell in evaluated.available.values())
    baselines = list(dict.fromkeys(name for cell in evaluated.available.values() for name in cell["baselines"]))
    rows = []
    for name, cell in evaluated.available.items():
        interval = f" [{', '.join(map(short, cell['ci95']))}]" if cell["ci95"] else ""
        others = [cell["baselines"].get(baseline) or {} for baseline in baselines]
        values = [cell["value"], *(each.get("value") for each in others)]
        best = best_of(values, cell["better"], short)
        texts = [f"**{short(value)}**" if at in best else short(value) for at, value in enumerate(values)]
        marked = [marks()[each.get("verdict")] for each in others]
        beside = [f"{text} {mark}".rstrip() for text, mark in zip(texts[1:], marked, strict=True)]
        bound = [short(cell["upper_bound"])] if bounded else []
        rows.append([f"{plain(name)} ({plain(cell['scale'])})", f"{texts[0]}{interval}", *beside, *bound])
    head = ["metric", "model", *baselines, *(["upper bound"] if bounded else [])]
    return [*table(head, rows), *_legend(evaluated, bounded=bounded)]


def _legend(evaluated: Evaluated, *, bounded: bool) -> list[str]:
    """Return the lines that explain what a table of scores contains."""
    cells = evaluated.available.values()
    sentences = ["In brackets: 95 % intervals over stories."] if any(cell["ci95"] for cell in cells) else []
    if any(each.get("verdict") for cell in cells for each in cell["baselines"].values()):
        sentences.append(f"Beside a baseline: the model is {legend('it')}.")
    if bounded:
        sentences.append("Upper bound: the reference scored against itself.")
    return ["", " ".join(sentences)] if sentences else []
