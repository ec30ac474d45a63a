"""An evaluation as Markdown, for a terminal, a pull request or a paper's draft."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..escaping import visible
from ..runs.results import Evaluated
from .verdicts import legend, marks, short
from .words import described_floors, how_predicted, leaks_found, teacher_forced_numbers

LEGEND = (
    f"In brackets: 95 % intervals over stories. Beside a floor: {legend('it')}. "
    "Ceiling: the truth scored against itself."
)


def markdown(
    evaluated: Evaluated,
    examples: Mapping[str, Mapping[str, Any]],
    *,
    facts: Mapping[str, Mapping[str, str]] | None = None,
) -> str:
    """Write the scores beside their floors, what they depend on, and some predictions under their titles.

    An example is a line of predictions.jsonl; `facts` are those of `provenance`.
    """
    result = evaluated.result
    lines = [
        f"# {plain(evaluated.name)}: {result['split']} split",
        "",
        f"{result['windows']} windows of {result['stories']} stories, {how_predicted(evaluated)}.",
        "",
        *_table(evaluated),
        "",
        LEGEND,
        "",
    ]
    for caution in result["cautions"]:
        lines += [f"**Caution: {plain(caution)}.**", ""]
    lines += [f"- {floor}: {meaning}" for floor, meaning in described_floors(evaluated).items() if meaning]
    for name, cell in result["metrics"].items():
        if "unavailable" in cell:
            lines.append(f"- {name} is unavailable: {plain(cell['unavailable'])}")
        elif cell.get("caution"):
            lines.append(f"- {plain(cell['caution'])}")
    if missing := result.get("missing"):
        lines.append(f"- **{missing} windows are not predicted and not in the scores**")
    if leaks := leaks_found(result["leaks"]):
        lines.append("- leaks: " + ", ".join(f"{count} {reason}" for reason, count in leaks.items()))
    if numbers := teacher_forced_numbers(result):
        listed = ", ".join(f"{name} {value}" for name, value in numbers.items())
        lines.append(f"- teacher-forced, not to be read beside the scores above: {listed}")
    for title, found in (facts or {}).items():
        lines += ["", f"**{title}**", "", *(f"- {key}: {plain(value)}" for key, value in found.items())]
    for title, example in examples.items():
        lines += [
            "",
            f"**{title}** ({plain(example['story'])}, from frame {example['start'] + 1})",
            "",
            f"> predicted: {plain(example['prediction'])}",
            ">",
            f"> what followed: {plain(example['reference'])}",
        ]
    return "\n".join([*lines, "", "`{}`".format(visible(result["signature"]).replace("`", "'")), ""])


def chosen_examples(evaluated: Evaluated) -> dict[str, dict[str, Any]]:
    """Choose the best, the median and the worst prediction by the first metric that orders windows; maybe none."""
    predictions = evaluated.predictions()
    for name, cell in evaluated.available.items():
        scored = [item for item in predictions if item["scores"].get(name) is not None]
        if not scored or cell["better"] == "one":
            continue
        ordered = sorted(scored, key=lambda item: item["scores"][name], reverse=cell["better"] == "higher")
        return {f"{title} by {name}": ordered[at] for title, at in _places(len(ordered)).items()}
    return {}


def _places(count: int) -> dict[str, int]:
    places = {"best": 0, "median": (count - 1) // 2, "worst": count - 1}
    return places if count >= len(places) else {"best": 0}


def plain(text: str) -> str:
    """Write a text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", visible(" ".join(text.split())))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table whose first column stands at the left, the others at the right."""
    align = [":--", *["--:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, align, *rows)]


def _table(evaluated: Evaluated) -> list[str]:
    floors = list(dict.fromkeys(name for cell in evaluated.available.values() for name in cell["floors"]))
    rows = []
    for name, cell in evaluated.available.items():
        interval = f" [{', '.join(map(short, cell['ci95']))}]" if cell["ci95"] else ""
        beside = [_floor(cell, floor) for floor in floors]
        rows.append(
            [
                f"{plain(name)} ({plain(cell['scale'])})",
                f"**{short(cell['value'])}**{interval}",
                *beside,
                short(cell["ceiling"]),
            ]
        )
    return table(["metric", "model", *floors, "ceiling"], rows)


def _floor(cell: Mapping[str, Any], name: str) -> str:
    floor = cell["floors"].get(name)
    if floor is None or "unavailable" in floor:
        return "–"
    return f"{short(floor['value'])} {marks()[floor['verdict']]}".rstrip()
