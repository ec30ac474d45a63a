"""The curves of a run: how each loss fell, drawn from history.jsonl."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..files.atomic import replacing
from ..runs.history import Row, best_row, clock, losses_of, number, read_history, watched_loss
from ..runs.run import Run
from .plot_fonts import fonts_for
from .storyboard import ACCENT, FAINT, INK, PAPER

CURVES = "curves.png"
TRAINING, VALIDATION = "#3f6fa3", ACCENT
PANEL = (4.2, 2.9)
"""Width and height of a panel, in inches."""
COLUMNS = 3
STEEP = 4
"""How many times its lowest value a loss may be and still be drawn on a plain scale: a first epoch that is far above
all others would leave the rest a flat line, and it is there that training and validation part."""
LINED = 40
"""Epochs up to which each has a point of its own on the line."""


def draw_curves(run: Run) -> Path | None:
    """Draw a run's curves into its folder, in the place of older ones. None where no epoch has ended yet.

    Raises VsrError if the history or the configuration cannot be read.
    """
    rows = read_history(run.history, epochs=run.epochs_trained())
    if not rows:
        return None
    path = run.folder / CURVES
    with replacing(path) as temporary, fonts_for(run.name):
        figure = _figure(rows, title=run.name, best=best_row(rows, watched_loss(run.config())))
        figure.savefig(temporary, format="png", dpi=110)
    return path


def _figure(rows: Sequence[Row], *, title: str, best: Row | None) -> Any:
    # Importing matplotlib takes most of a second. Without pyplot there is no display to look for.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = losses_of(rows)
    lines = -(-(len(names) + 1) // COLUMNS)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    figure = Figure(figsize=(PANEL[0] * COLUMNS, PANEL[1] * lines + 0.7), facecolor=PAPER, layout=layout)
    figure.suptitle(title, x=0.012, ha="left", color=INK, fontsize=14, fontweight="bold")
    axes = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for name in names:
        _draw_loss(next(axes), rows, name, best)
    _draw_rate(next(axes), rows)
    for left_over in axes:
        left_over.set_axis_off()
    figure.legend(*_legend(rows, best), loc="upper right", ncols=3, frameon=False, labelcolor=INK, fontsize=10)
    return figure


def _draw_loss(axes: Any, rows: Sequence[Row], name: str, best: Row | None) -> None:
    weighted = " (weighted sum)" if name == "loss" else ""
    _prepare(axes, f"{name}{weighted}", rows)
    drawn: list[float] = []
    for split, colour in (("train", TRAINING), ("validation", VALIDATION)):
        held = [row for row in rows if name in row[split]]
        values = [row[split][name] for row in held]
        if not held:
            continue
        epochs = [row["epoch"] for row in held]
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=_marker(rows))
        drawn += values
    if 0 < STEEP * min(drawn) < max(drawn):
        _scale_by_logarithm(axes)
    if best is not None and name in best["validation"]:
        value = best["validation"][name]
        axes.axvline(best["epoch"], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.plot([best["epoch"]], [value], marker="*", markersize=13, color=VALIDATION, markeredgecolor=PAPER)
        axes.set_title(f"{number(value)} at the best epoch", loc="right", color=VALIDATION, fontsize=9)


def _scale_by_logarithm(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("logarithmic", color=FAINT, fontsize=8)


def _draw_rate(axes: Any, rows: Sequence[Row]) -> None:
    _prepare(axes, "learning rate, at each epoch's end", rows)
    rates = [row["learning_rate"] for row in rows]
    epochs = [row["epoch"] for row in rows]
    axes.plot(epochs, rates, color=INK, linewidth=1.8, marker="o", markersize=_marker(rows), clip_on=False)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)


def _prepare(axes: Any, title: str, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", color=INK, fontsize=11)
    axes.set_facecolor("white")
    axes.set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=FAINT, fontsize=9)
    axes.grid(visible=True, color="#e7e5df", linewidth=0.8)
    axes.tick_params(colors=FAINT, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color("#cfccc4")


def _marker(rows: Sequence[Row]) -> float:
    return 4.5 if len(rows) <= LINED else 0.0


def _legend(rows: Sequence[Row], best: Row | None) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    seconds = clock(sum(row["seconds"] for row in rows))
    handles = [Line2D([], [], color=TRAINING, linewidth=2)]
    labels = [f"training, {rows[-1]['steps']} steps in {seconds}"]
    if best is not None:
        handles += [
            Line2D([], [], color=VALIDATION, linewidth=2),
            Line2D([], [], color=VALIDATION, marker="*", markersize=11, linestyle="none"),
        ]
        labels += ["validation", f"best: epoch {best['epoch']} of {rows[-1]['epoch']}"]
    return handles, labels
