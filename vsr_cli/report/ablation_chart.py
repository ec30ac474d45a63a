"""An ablation as a picture: a panel a metric, in it each combination with its interval and seeds, and the floors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evaluation.verdicts import BETTER, NOT_SIGNIFICANT, WORSE
from ..files.atomic import replacing
from .ablation import floor_means
from .plot_fonts import fonts_for
from .storyboard import ACCENT, FAINT, INK, PAPER, TRUTH
from .verdicts import MARK_OF_DIRECTION, short

COLOUR_OF_VERDICT = {BETTER: TRUTH, WORSE: ACCENT}
SHAPE_OF_VERDICT = {BETTER: "^", WORSE: "v", NOT_SIGNIFICANT: "o"}
"""The points of the means, so that no meaning is in the colour alone."""
LINE, HEAD, WIDTH = 0.42, 1.5, 9.0
"""Inches: of a combination, of a panel besides, and of the picture."""
FAR = 1.0
"""A floor farther from the combinations than this many times their spread is told and not drawn: it would press them
into one place."""


def draw_ablation(result: Mapping[str, Any], path: Path) -> None:
    """Draw what result.json has of the metrics, as a PNG."""
    with fonts_for(*(combination["label"] for combination in result["combinations"])):
        _draw(result, path)


def _draw(result: Mapping[str, Any], path: Path) -> None:
    # Importing matplotlib takes most of a second. Without pyplot there is no display to look for.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    metrics = result["metrics"]
    high = len(result["combinations"]) * LINE + HEAD
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(WIDTH, high * len(metrics) + 0.6), facecolor=PAPER, layout=layout)
    title = f"{result['split']} split, {result['stories']} stories, {len(result['seeds'])} seeds"
    figure.suptitle(title, x=0.012, ha="left", color=INK, fontsize=13, fontweight="bold")
    panels = figure.subplots(len(metrics), 1, squeeze=False).flat
    for axes, (name, metric) in zip(panels, metrics.items(), strict=True):
        _draw_metric(axes, name, metric, [combination["label"] for combination in result["combinations"]])
    figure.legend(*_legend(), loc="outside lower right", ncols=5, frameon=False, labelcolor=INK, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def _draw_metric(axes: Any, name: str, metric: Mapping[str, Any], labels: list[str]) -> None:
    axes.set_title(f"{name} {MARK_OF_DIRECTION[metric['better']]}", loc="left", color=INK, fontsize=11)
    axes.set_facecolor("white")
    drawn: list[float] = []
    for place, score in enumerate(metric["scores"]):
        if score is None:
            continue
        found = score.get("verdict")
        colour, shape = COLOUR_OF_VERDICT.get(found, INK), SHAPE_OF_VERDICT.get(found, "o")
        low, high = score["ci95"] or [score["value"]] * 2
        axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round", clip_on=True)
        axes.plot([score["value"]], [place], shape, color=colour, markersize=7)
        axes.plot(score["seeds"], [place + 0.22] * len(score["seeds"]), "o", color=FAINT, markersize=3)
        drawn += [score["value"], *score["seeds"], low, high]
    low, high = min(drawn), max(drawn)
    spread = high - low or abs(high) or 1.0
    beyond = []
    for floor, value in floor_means(metric).items():
        if low - FAR * spread <= value <= high + FAR * spread:
            axes.axvline(value, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            axes.annotate(
                floor,
                (value, 1),
                xycoords=("data", "axes fraction"),
                xytext=(2, -2),
                textcoords="offset points",
                rotation=90,
                va="top",
                fontsize=7,
                color=FAINT,
            )
        else:
            beyond.append(f"{floor} {short(value)}")
    if beyond:
        axes.set_xlabel(f"not drawn, far away: {', '.join(beyond)}", color=FAINT, fontsize=8, loc="left")
    axes.set_yticks(range(len(labels)), labels, fontsize=9, color=INK, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -1.1)  # the names of floors stand above the first
    axes.grid(visible=True, axis="x", color="#e7e5df", linewidth=0.8)
    axes.tick_params(axis="x", colors=FAINT, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#cfccc4")


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    lines = {"mean and 95 %": (INK, "o"), f"{BETTER} than the base": (TRUTH, "^"), WORSE: (ACCENT, "v")}
    handles = [Line2D([], [], color=colour, marker=shape, linewidth=2) for colour, shape in lines.values()]
    handles += [
        Line2D([], [], color=FAINT, marker="o", markersize=3, linestyle="none"),
        Line2D([], [], color=FAINT, linestyle=(0, (4, 3))),
    ]
    return handles, [*lines, "a seed", "a floor"]
