"""The chart of a prepared data set: lengths, image sizes, rare words and copied content on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.splits import HELD_OUT, SPLITS
from ..data.statistics import ALL, LENGTHS, Measures
from .charts import fonts_for, save_figure
from .storyboard import FAINT, INK, PAPER

COLOUR_OF_SPLIT = {"train": "#00798c", "validation": "#edae49", "test": "#d1495b"}
GRID = "#e4e1d9"
BINS = 30
FAR = 0.995
"""The quantile of the values up to which a histogram has bars; larger ones are counted in the last bar."""
FEWEST_BARS = 5
"""A panel has space for so many bars at least, so that a single bar is not too thick."""
PROPORTIONS = {"1:1": 1.0, "4:3": 4 / 3, "16:9": 16 / 9, "2.39:1": 2.39}
"""Common aspect ratios of images, drawn as guides."""

STYLE: Any = {
    "text.parse_math": False,  # a dollar in the name of a source is a dollar
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": PAPER,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def draw_statistics(
    measures: Mapping[str, Measures], numbers: Mapping[str, Mapping[str, Any]], *, title: str, counted: str, path: Path
) -> None:
    """Write a PNG of measures and of the numbers that `summary` computes from them, with copy-last scores.

    `counted` is the unit of text lengths.
    """
    # No other command needs it, and importing it takes most of a second.
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.patches import Patch

    layout = ConstrainedLayoutEngine(w_pad=0.25, h_pad=0.22, rect=(0, 0, 1, 0.92))  # the title stands above
    with mpl.rc_context(STYLE), fonts_for(title, counted):
        figure = Figure(figsize=(15, 9.2), dpi=110, facecolor=PAPER, layout=layout)
        figure.text(0.015, 0.968, title, fontsize=17, fontweight="bold", va="center")
        of = numbers[ALL]
        facts = [f"{what} {of[what]:,}" for what in ("stories", "frames", "windows")]
        figure.text(0.015, 0.938, "   ".join(facts), color=FAINT, va="center")
        patches = [Patch(color=COLOUR_OF_SPLIT[split], label=split) for split in SPLITS]
        figure.legend(handles=patches, loc="upper right", ncols=len(SPLITS), bbox_to_anchor=(0.99, 0.98))
        (frames, words, tokens), (sizes, rare, repeats) = figure.subplots(2, 3)
        _histogram(frames, {split: measures[split].frames for split in SPLITS}, "Frames per story", "stories")
        _histogram(words, {split: measures[split].words for split in SPLITS}, "Words per frame", "frames")
        _truncated_texts(tokens, measures, counted)
        _sizes(sizes, measures[ALL].sizes)
        _words(rare, numbers)
        _repeats(repeats, numbers)
        save_figure(figure, path)


def _histogram(axes: Any, values: Mapping[str, NDArray[np.int64]], title: str, counted: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(7, integer=True))
    everything = np.concatenate([*values.values()])
    axes.set_ylabel(counted)
    axes.grid(axis="y")
    if not len(everything):
        return
    least, far = int(everything.min()), int(np.quantile(everything, FAR))
    step = max(1, -(-(far - least + 1) // BINS))
    edges = np.arange(least, far + step + 1, step) - 0.5
    shown = [np.minimum(part, edges[-1]) for part in values.values()]
    axes.hist(
        shown,
        bins=edges,
        stacked=True,
        color=[COLOUR_OF_SPLIT[split] for split in values],
        label=[*values],
        rwidth=0.92,
    )
    median = np.median(everything)
    axes.axvline(median, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(
        f"median {median:g}",
        (median, 1),
        xycoords=("data", "axes fraction"),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        fontsize=9,
    )
    if everything.max() > edges[-1]:
        axes.set_xlabel(f"the last bar: {edges[-2] + 0.5:.0f} to {everything.max()}", color=FAINT)


def _truncated_texts(axes: Any, measures: Mapping[str, Measures], counted: str) -> None:
    axes.set_title("Texts that a limit would truncate")
    axes.set_xlabel(f"limit in {counted} (dots: all splits)")
    axes.set_ylabel("share of longer texts")
    axes.grid()
    everything = measures[ALL].tokens
    if not len(everything):
        return
    end = max(int(everything.max()), LENGTHS[1])
    limits = np.arange(end + 1)
    for split in SPLITS:
        tokens = np.sort(measures[split].tokens)
        if len(tokens):
            longer = 1 - np.searchsorted(tokens, limits, side="right") / len(tokens)
            axes.plot(limits, longer, color=COLOUR_OF_SPLIT[split], linewidth=2)
    for limit in LENGTHS:
        if limit <= end:
            share = float((everything > limit).mean())
            axes.plot([limit], [share], "o", color=INK, markersize=5)
            axes.annotate(
                f"{share:.0%} over {limit}", (limit, share), xytext=(7, 7), textcoords="offset points", fontsize=9
            )
    axes.set_xlim(0, 1.15 * end)
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(_percent)


def _sizes(axes: Any, sizes: NDArray[np.int64]) -> None:
    axes.set_title("Image sizes")
    axes.set_xlabel("width in pixels")
    axes.set_ylabel("height in pixels")
    axes.grid()
    if not len(sizes):
        return
    kinds, counts = np.unique(sizes, axis=0, return_counts=True)
    right, top = (1.15 * kinds.max(axis=0)).tolist()
    area = 8 + 500 * counts / counts.max()  # in square points: the eye compares areas
    axes.scatter(kinds[:, 0], kinds[:, 1], s=area, color=COLOUR_OF_SPLIT["train"], alpha=0.5, linewidth=0)
    axes.set_xlim(0, right)
    axes.set_ylim(0, top)
    for name, proportion in PROPORTIONS.items():
        x, y = min(right, top * proportion), min(top, right / proportion)
        axes.plot([0, x], [0, y], color=FAINT, linewidth=0.8, linestyle=(0, (2, 3)), zorder=0)
        at_the_side = {"xytext": (4, 0), "va": "center"}
        above = {"xytext": (0, 3), "ha": "center"}
        where = at_the_side if x == right else above
        axes.annotate(name, (x, y), textcoords="offset points", fontsize=8, color=FAINT, annotation_clip=False, **where)


def _words(axes: Any, numbers: Mapping[str, Mapping[str, Any]]) -> None:
    of = numbers[ALL]
    axes.set_title("Rare and unseen words")
    axes.set_xlabel(f"{of['words']:,} words in total, {of['distinct_words']:,} distinct", color=FAINT)
    bars = [_share("distinct words that occur once", of["distinct_words_seen_once"], INK)]
    unseen = {"words": "words_not_in_train", "distinct words": "distinct_words_not_in_train"}
    for split in HELD_OUT:
        for what, key in unseen.items():
            if (share := numbers[split][key]) is not None:
                bars.append(_share(f"{split}: {what} not in train", share, COLOUR_OF_SPLIT[split]))
    _bars(axes, bars)


def _repeats(axes: Any, numbers: Mapping[str, Mapping[str, Any]]) -> None:
    of = numbers[ALL]
    axes.set_title("Repeated content")
    bars = [
        _share("frames with the text of the previous frame", of["same_text_as_before"], INK),
        _share("frames with the image of the previous frame", of["same_image_as_before"], INK),
        _share("windows with the target text in the context", of["target_text_in_context"], INK),
        _share("windows with the target image in the context", of["target_image_in_context"], INK),
    ]
    if copied := of["copy_last"]:
        bleu, rouge = copied["bleu"], copied["rouge"]
        if bleu is not None:
            bars.append(Bar("copy-last BLEU, of 100", bleu / 100, f"{bleu:.1f}", FAINT))
        if rouge is not None:
            bars.append(Bar("copy-last ROUGE-L, of 1", rouge, f"{rouge:.3f}", FAINT))
        axes.set_xlabel(f"copy-last: {copied['windows']:,} windows whose target is not in the context", color=FAINT)
    _bars(axes, bars)


@dataclass(frozen=True)
class Bar:
    """A bar of a panel."""

    text: str
    length: float
    """From 0 to 1."""
    label: str
    """The number at its end."""
    colour: str


def _share(text: str, share: float | None, colour: str) -> Bar:
    return Bar(text, share or 0, "none" if share is None else f"{share:.1%}", colour)


def _bars(axes: Any, bars: Sequence[Bar]) -> None:
    """Draw bars, the first at the top, each below its text."""
    places = np.arange(len(bars))
    axes.barh(places, [bar.length for bar in bars], color=[bar.colour for bar in bars], height=0.36)
    for place, bar in zip(places.tolist(), bars, strict=True):
        axes.annotate(bar.text, (0, place - 0.24), xytext=(2, 0), textcoords="offset points", va="bottom", fontsize=9)
        end = {"xytext": (5, 0), "textcoords": "offset points", "va": "center", "fontsize": 9, "fontweight": "bold"}
        axes.annotate(bar.label, (bar.length, place), **end)
    axes.set_yticks([])
    axes.set_ylim(max(len(bars), FEWEST_BARS) - 0.6, -0.75)
    axes.set_xlim(0, max(0.1, 1.2 * max(bar.length for bar in bars)))
    axes.grid(axis="x")
    axes.locator_params(axis="x", nbins=5)
    axes.xaxis.set_major_formatter(_percent)


def _percent(value: float, _: int) -> str:
    return f"{100 * value:.3g}%"
