"""Charts drawn with matplotlib: the loss curves of a run, and the scores of an ablation."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..files.atomic import replacing
from ..quantities import counted
from ..runs.history import Row, best_row, losses_of, read_history, watched_loss
from ..runs.results import BETTER, NOT_SIGNIFICANT, WORSE
from ..runs.run import Run
from .ablation import baseline_means
from .fonts import LATIN_END, font_of
from .formatting import MARK_OF_DIRECTION, clock, loss_text, short
from .storyboard import ACCENT, FAINT, INK, PAPER, TRUTH
from .text_layout import clusters

GRID, FRAME = "#e7e5df", "#cfccc4"

CURVES = "curves.png"
TRAINING, VALIDATION = "#3f6fa3", ACCENT
PANEL = (4.2, 2.9)
"""Width and height of a panel, in inches."""
COLUMNS = 3
STEEP = 4
"""A loss whose highest value is more than this many times its lowest one has a logarithmic scale: a first epoch far
above all others would flatten the rest, where training and validation loss diverge."""
MARKED_EPOCHS = 40
"""Up to this many epochs, each one has a marker on the line."""

COLOUR_OF_VERDICT = {BETTER: TRUTH, WORSE: ACCENT}
SHAPE_OF_VERDICT = {BETTER: "^", WORSE: "v", NOT_SIGNIFICANT: "o"}
"""Markers of the means, so that colour alone carries no meaning."""
LINE, HEAD, WIDTH = 0.42, 1.5, 9.0
"""Inches: height of one combination, of the rest of a panel, and width of the chart."""
FAR = 1.0
"""A baseline farther from the combinations than this many times their spread is listed and not drawn: it would press
them together."""


@contextmanager
def fonts_for(*texts: str) -> Iterator[None]:
    """Make matplotlib use fonts that have the letters of some texts, for a figure made and saved in the block."""
    import matplotlib as mpl
    from matplotlib import font_manager

    families = ["DejaVu Sans"]
    letters = {cluster for text in texts for cluster in clusters(text) if cluster >= LATIN_END}
    fonts = [font for font in (font_of(letter, "", "") for letter in sorted(letters)) if font]
    for path in dict.fromkeys(path for path, _ in fonts):
        try:
            font_manager.fontManager.addfont(path)
            families.append(font_manager.FontProperties(fname=path).get_name())
        except (OSError, RuntimeError, ValueError):
            continue  # coloured bitmaps, which matplotlib does not read
    with mpl.rc_context({"font.family": families}), warnings.catch_warnings():
        # `font_of` has already warned of scripts without a font.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def new_figure(width: float, height: float, *, title: str) -> Any:
    """Return an empty figure of a size in inches with its title at the upper left."""
    # Importing matplotlib takes most of a second. Without pyplot no display is needed.
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=(width, height), facecolor=PAPER, layout=layout)
    figure.suptitle(title, x=0.012, ha="left", color=INK, fontsize=14, fontweight="bold", parse_math=False)
    return figure


def figure_bytes(figure: Any) -> bytes:
    """Return a figure as PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110, metadata={"Software": None})
    return file.getvalue()


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(figure_bytes(figure))


def style_axes(axes: Any, title: str) -> None:
    """Set the title, grid and frame of a panel."""
    axes.set_title(title, loc="left", color=INK, fontsize=11, parse_math=False)
    axes.set_facecolor("white")
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.tick_params(colors=FAINT, labelsize=9)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(FRAME)


def draw_curves(run: Run) -> Path | None:
    """Draw the losses and the learning rate of a run into its curves.png; None before its first epoch has ended.

    Raises VsrError if the history or the configuration cannot be read.
    """
    rows = read_history(run.history, epochs=run.epochs_trained())
    if not rows:
        return None
    path = run.folder / CURVES
    with fonts_for(run.name):
        save_figure(curves_figure(rows, title=run.name, best=best_row(rows, watched_loss(run.config()))), path)
    return path


def curves_figure(rows: Sequence[Row], *, title: str, best: Row | None) -> Any:
    """Return a figure with a panel for each loss and one for the learning rate."""
    names = losses_of(rows)
    lines = -(-(len(names) + 1) // COLUMNS)
    figure = new_figure(PANEL[0] * COLUMNS, PANEL[1] * lines + 0.7, title=title)
    panels = figure.subplots(lines, COLUMNS, squeeze=False).flat
    for name in names:
        _draw_loss(next(panels), rows, name, best)
    _draw_learning_rate(next(panels), rows)
    for unused in panels:
        unused.set_axis_off()
    figure.legend(*_curves_legend(rows, best), loc="upper right", ncols=3, frameon=False, labelcolor=INK, fontsize=10)
    return figure


def _draw_loss(axes: Any, rows: Sequence[Row], name: str, best: Row | None) -> None:
    _style_epochs(axes, f"{name} (weighted sum)" if name == "loss" else name, rows)
    values: list[float] = []
    for split, colour in (("train", TRAINING), ("validation", VALIDATION)):
        points = [(row["epoch"], row[split][name]) for row in rows if name in row[split]]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.8, marker="o", markersize=_marker(rows))
            values += [value for _, value in points]
    if 0 < STEEP * min(values) < max(values):
        _set_log_scale(axes)
    if best is not None and name in best["validation"]:
        value = best["validation"][name]
        axes.axvline(best["epoch"], color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.plot([best["epoch"]], [value], marker="*", markersize=13, color=VALIDATION, markeredgecolor=PAPER)
        axes.set_title(f"{loss_text(value)} at the best epoch", loc="right", color=VALIDATION, fontsize=9)


def _set_log_scale(axes: Any) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("log scale", color=FAINT, fontsize=8)


def _draw_learning_rate(axes: Any, rows: Sequence[Row]) -> None:
    _style_epochs(axes, "learning rate at the end of the epoch", rows)
    rates, epochs = [row["learning_rate"] for row in rows], [row["epoch"] for row in rows]
    axes.plot(epochs, rates, color=INK, linewidth=1.8, marker="o", markersize=_marker(rows), clip_on=False)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)


def _style_epochs(axes: Any, title: str, rows: Sequence[Row]) -> None:
    from matplotlib.ticker import MaxNLocator

    style_axes(axes, title)
    axes.set_xlim(rows[0]["epoch"] - 0.5, rows[-1]["epoch"] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=8, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=FAINT, fontsize=9)


def _marker(rows: Sequence[Row]) -> float:
    return 4.5 if len(rows) <= MARKED_EPOCHS else 0.0


def _curves_legend(rows: Sequence[Row], best: Row | None) -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    seconds = clock(sum(row["seconds"] for row in rows))
    handles = [Line2D([], [], color=TRAINING, linewidth=2)]
    labels = [f"training, {counted(rows[-1]['steps'], 'step')} in {seconds}"]
    if best is not None:
        handles += [
            Line2D([], [], color=VALIDATION, linewidth=2),
            Line2D([], [], color=VALIDATION, marker="*", markersize=11, linestyle="none"),
        ]
        labels += ["validation", f"best: epoch {best['epoch']} of {rows[-1]['epoch']}"]
    return handles, labels


def draw_ablation(result: Mapping[str, Any], path: Path) -> None:
    """Draw the scores in an ablation's result.json as PNG: a panel per metric, with intervals, seeds and baselines."""
    metrics, labels = result["metrics"], [combination["label"] for combination in result["combinations"]]
    seeds = len(result["seeds"])
    title = f"{result['split']} split, {counted(result['stories'], 'story')}, {counted(seeds, 'seed')}"
    with fonts_for(*labels):
        figure = new_figure(WIDTH, (len(labels) * LINE + HEAD) * len(metrics) + 0.6, title=title)
        panels = figure.subplots(len(metrics), 1, squeeze=False).flat
        for axes, (name, metric) in zip(panels, metrics.items(), strict=True):
            _draw_metric(axes, name, metric, labels)
        figure.legend(
            *_ablation_legend(), loc="outside lower right", ncols=5, frameon=False, labelcolor=INK, fontsize=9
        )
        save_figure(figure, path)


def _draw_metric(axes: Any, name: str, metric: Mapping[str, Any], labels: list[str]) -> None:
    style_axes(axes, f"{name} {MARK_OF_DIRECTION[metric['better']]}")
    axes.grid(visible=False, axis="y")
    values: list[float] = []
    for position, score in enumerate(metric["scores"]):
        if score is None:
            continue
        verdict = score.get("verdict")
        colour, shape = COLOUR_OF_VERDICT.get(verdict, INK), SHAPE_OF_VERDICT.get(verdict, "o")
        low, high = score["ci95"] or [score["value"]] * 2
        axes.plot([low, high], [position, position], color=colour, linewidth=2.2, solid_capstyle="round")
        axes.plot([score["value"]], [position], shape, color=colour, markersize=7)
        axes.plot(score["seeds"], [position + 0.22] * len(score["seeds"]), "o", color=FAINT, markersize=3)
        values += [score["value"], *score["seeds"], low, high]
    low, high = min(values), max(values)
    spread = high - low or abs(high) or 1.0
    off_scale = []
    for baseline, value in baseline_means(metric).items():
        if not low - FAR * spread <= value <= high + FAR * spread:
            off_scale.append(f"{baseline} {short(value)}")
            continue
        axes.axvline(value, color=FAINT, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
        axes.annotate(
            baseline, (value, 1), xytext=(2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
            rotation=90, va="top", fontsize=7, color=FAINT,
        )  # fmt: skip
    if off_scale:
        axes.set_xlabel(f"off the scale: {', '.join(off_scale)}", color=FAINT, fontsize=8, loc="left")
    axes.set_yticks(range(len(labels)), labels, fontsize=9, color=INK, parse_math=False)
    axes.set_ylim(len(labels) - 0.5, -1.1)  # the names of baselines stand above the first combination


def _ablation_legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    lines = {"mean and 95 % interval": (INK, "o"), f"{BETTER} than the base": (TRUTH, "^"), WORSE: (ACCENT, "v")}
    handles = [Line2D([], [], color=colour, marker=shape, linewidth=2) for colour, shape in lines.values()]
    handles += [
        Line2D([], [], color=FAINT, marker="o", markersize=3, linestyle="none"),
        Line2D([], [], color=FAINT, linestyle=(0, (4, 3))),
    ]
    return handles, [*lines, "one seed", "baseline"]
