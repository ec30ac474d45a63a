"""`vsr data stats`: what stories are like, in numbers and a picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..console import out as console
from ..errors import VsrError
from ..files.atomic import file_name
from ..plugin.registry import Registry
from ..report.tables import Column, blocks, fitting_table
from .data import means_prepared, open_stories, png_named
from .prepare import default_dataset, default_folder

STATISTICS = "statistics.png"
COPIED = ("bleu", "rouge")
"""The metrics by which copying the last text is scored."""
LEGEND = "copied: the last text of a context, taken for the target's; (a–b): least and greatest"
NEVER = "-"
"""Stands in a table where there is nothing to count."""

Shown = Callable[[Mapping[str, Any]], str]
"""Says one number of a split."""


def run_stats(
    found: Registry, source: str | None, *, tokenizer: Path | None, out: Path | None, **options: Any
) -> dict[str, Any]:
    """Measure stories and draw what comes out. Gives it as JSON has it; other options are those of `open_stories`."""
    from ..config.experiment import resolve_metrics
    from ..data.splits import SPLITS
    from ..data.statistics import measure, summary
    from ..data.words import WORDS_AND_MARKS, count_words_and_marks, tokens_by
    from ..evaluation.baselines import copy_last_scores
    from ..report.dataset_charts import draw_statistics

    # All that can be wrong is looked at before any story is read.
    count_tokens = tokens_by(tokenizer) if tokenizer else count_words_and_marks
    metrics = resolve_metrics(found, COPIED, [])
    picture = png_named(out) if out else _own_picture(source, options["dataset"])
    with open_stories(found, source, **options) as opened:
        measures = measure(opened.prepared, count_tokens)
        numbers = summary(measures)
        copied = copy_last_scores(opened.prepared, SPLITS, metrics)
        numbers = {name: {**of, "copy_last": copied[name]} for name, of in numbers.items()}
        picture = picture or opened.prepared.folder / STATISTICS
        counted = f"tokens of {tokenizer}" if tokenizer else "words and punctuation marks"
        draw_statistics(measures, numbers, title=opened.source, counted=counted, path=picture)
    return {
        "source": opened.source,
        "tokens": counted if tokenizer else WORDS_AND_MARKS,
        "splits": numbers,
        "picture": str(picture),
    }


def _own_picture(source: str | None, dataset: str | None) -> Path | None:
    """Name the picture of stories that are not prepared, in the present folder; None: it belongs to prepared data."""
    if means_prepared(source, dataset):
        return None
    path = Path(f"{file_name(default_folder(source, dataset or default_dataset(source)).name)}-{STATISTICS}")
    if path.exists():
        raise VsrError(f"{path}: is there already, and nothing is overwritten; name another with --out FILE")
    return path


def _plain(key: str) -> Shown:
    return lambda numbers: f"{numbers[key]:,}"


def _share(key: str, of: str | None = None) -> Shown:
    def show(numbers: Mapping[str, Any]) -> str:
        share = numbers[key] if of is None else numbers[key][of]
        return NEVER if share is None else f"{share:.1%}"

    return show


def _range(key: str) -> Shown:
    def show(numbers: Mapping[str, Any]) -> str:
        spread = numbers[key]
        if spread is None:
            return NEVER
        median, least, greatest = (_short(spread[name]) for name in ("median", "least", "greatest"))
        return f"{median} ({least}–{greatest})"

    return show


def _short(number: float) -> str:
    return f"{number:.0f}" if number == round(number) else f"{number:.2f}".rstrip("0")


def _size(numbers: Mapping[str, Any]) -> str:
    size = numbers["image_size"]
    return NEVER if size is None else "{width}x{height} ({share:.0%})".format(**size)


def _copied(name: str, digits: int) -> Shown:
    def show(numbers: Mapping[str, Any]) -> str:
        score = (numbers["copy_last"] or {}).get(name)
        return NEVER if score is None else f"{score:.{digits}f}"

    return show


ROWS: Sequence[Mapping[str, Shown]] = (
    {
        "stories": _plain("stories"),
        "frames": _plain("frames"),
        "windows": _plain("windows"),
        "frames a story": _range("frames_a_story"),
    },
    {
        "words a frame": _range("words_a_frame"),
        "tokens a frame": _range("tokens_a_frame"),
        "texts over 32 tokens": _share("longer_than", "32"),
        "texts over 64 tokens": _share("longer_than", "64"),
        "texts over 128 tokens": _share("longer_than", "128"),
        "markup in the source": _share("markup_share"),
    },
    {
        "words": _plain("words"),
        "distinct words": _plain("distinct_words"),
        "  seen once": _share("distinct_words_seen_once"),
        "  not in train": _share("distinct_words_not_in_train"),
        "words not in train": _share("words_not_in_train"),
    },
    {
        "distinct images": _plain("images"),
        "commonest size": _size,
        "width": _range("image_width"),
        "height": _range("image_height"),
        "width over height": _range("image_proportion"),
    },
    {
        "same text as before": _share("same_text_as_before"),
        "same image as before": _share("same_image_as_before"),
        "target text in context": _share("target_text_in_context"),
        "target image in context": _share("target_image_in_context"),
        "copied BLEU, of 100": _copied("bleu", 2),
        "copied ROUGE-L, of 1": _copied("rouge", 3),
    },
)
"""Of the table, in its sections: what stands at the left, and what of each split beside it."""


def show_stats(record: Mapping[str, Any]) -> None:
    """Print the numbers, a column for each split, and where the picture is."""
    splits = record["splits"]
    lines: list[tuple[str, Shown | None]] = [line for rows in ROWS for line in (("", None), *rows.items())]
    names = Column("", [text for text, _ in lines], justify="left")
    columns = [Column(split, [show(numbers) if show else "" for _, show in lines]) for split, numbers in splits.items()]
    console.print(record["source"], style="bold", markup=False, soft_wrap=True)
    for block in blocks(names, columns, width=console.width):
        console.print(fitting_table(block, width=console.width))
    console.print()
    console.print(f"tokens: {record['tokens']}", markup=False, soft_wrap=True)
    console.print(LEGEND, soft_wrap=True)
    console.print(f"picture: {record['picture']}", markup=False, soft_wrap=True)
