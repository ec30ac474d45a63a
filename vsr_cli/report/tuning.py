"""The trials of a search as a table and as charts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ..quantities import counted
from .charts import TRAINING, fonts_for, new_figure, save_figure, style_axes
from .formatting import MISSING, clock, loss_text
from .storyboard import ACCENT, FAINT, INK
from .tables import Column, fitting_table

WIDE, HIGH = 9.0, 3.6
"""Inches."""
MOST_SHOWN = 15
"""Trials in the table of the terminal; all of them are in result.json."""


def trial_table(result: Mapping[str, Any], *, width: int) -> RenderableType:
    """Return the table of the trials, the best first."""
    trials = result["trials"][:MOST_SHOWN]
    settings = list(dict.fromkeys(name for each in trials for name in each["settings"]))
    columns = [
        Column("trial", [str(each["number"]) for each in trials]),
        Column(result["minimized"], [_value(each) for each in trials]),
        *(
            Column(_title(name), [each["settings"].get(name, "") for each in trials], justify="left")
            for name in settings
        ),
        Column("state", [each["state"] for each in trials], justify="left", rank=1),
        Column("epochs", [str(each["epochs"]) for each in trials], rank=2),
        Column("time", [clock(each["seconds"]) for each in trials], rank=3),
    ]
    return fitting_table(
        columns, width=width, styles=["bold" if each["number"] == result["best"] else "" for each in trials]
    )


def _value(trial: Mapping[str, Any]) -> str:
    return MISSING if trial["value"] is None else loss_text(trial["value"])


def _title(setting: str) -> str:
    """Return a setting as a title: of a component, the section alone."""
    return setting.removesuffix(".name")


def draw_tuning(result: Mapping[str, Any], path: Path) -> None:
    """Draw the value of each trial with the best so far, and the importance of each setting, as PNG."""
    importance = result["importance"]
    title = f"{counted(len(result['trials']), 'trial')}, {result['minimized']} on the validation split"
    with fonts_for(*importance):
        figure = new_figure(WIDE, HIGH, title=title)
        axes = figure.subplots(1, 2 if importance else 1, squeeze=False)[0]
        _draw_history(axes[0], result)
        if importance:
            _draw_importance(axes[1], importance)
        save_figure(figure, path)


def _draw_history(axes: Any, result: Mapping[str, Any]) -> None:
    style_axes(axes, "trials, in their order")
    trials = sorted((each for each in result["trials"] if each["value"] is not None), key=lambda each: each["number"])
    finished = [each for each in trials if each["state"] == "finished"]
    others = [each for each in trials if each["state"] != "finished"]
    best, line = float("inf"), []
    for each in finished:
        best = min(best, each["value"])
        line.append((each["number"], best))
    axes.step(*zip(*line, strict=True), where="post", color=ACCENT, linewidth=1.6, label="best so far")
    places, values = zip(*((each["number"], each["value"]) for each in finished), strict=True)
    axes.plot(places, values, "o", color=TRAINING, markersize=5, label="finished")
    if others:
        places, values = zip(*((each["number"], each["value"]) for each in others), strict=True)
        axes.plot(places, values, "x", color=FAINT, markersize=5, label="stopped early, last value")
    axes.set_xlabel("trial", color=INK, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, labelcolor=INK, fontsize=8)


def _draw_importance(axes: Any, importance: Mapping[str, float]) -> None:
    style_axes(axes, "importance of each setting (PED-ANOVA)")
    axes.grid(visible=False, axis="y")
    names = sorted(importance, key=lambda name: importance[name])
    axes.barh(range(len(names)), [importance[name] for name in names], color=TRAINING, height=0.6)
    axes.set_yticks(range(len(names)), [_title(name) for name in names], fontsize=9, color=INK, parse_math=False)
    axes.set_xlim(0, 1)
