"""`vsr data stats`: statistics of stories, as a table and an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...console import out as console
from ...errors import VsrError
from ...files.atomic import file_name
from ...report.tables import Column, blocks, fitting_table
from ...workflows.preparation import default_folder
from ...workflows.settings import load_registry
from ...workflows.stories import default_dataset, is_prepared, open_stories
from ..arguments import (
    Assignments,
    Dataset,
    Font,
    Form,
    Groups,
    ImageFile,
    Json,
    Limit,
    Source,
    SplitMethod,
    as_path,
    use_font,
)
from ..output import chosen_format, write_result
from ..parsing.commands import examples
from .show import png_named

if TYPE_CHECKING:
    from ...plugin.registry import Registry
    from ...report.sheets import Sheet

STATISTICS = "statistics.png"
COPIED = ("bleu", "rouge")
"""The metrics by which copying the last text is scored."""
LEGEND = "(a–b): minimum and maximum; copy-last: the score of repeating the last text"
NEVER = "-"
"""Stands in a table where there is nothing to count."""

Shown = Callable[[Mapping[str, Any]], str]
"""Returns one number of a split, as text."""


@examples(
    "vsr data stats",
    "vsr data stats my_stories/ --out my_stories.png",
    "vsr data stats data/my_stories --tokenizer distilbert/",
)
def data_stats(
    source: Source = None,
    dataset: Dataset = None,
    limit: Limit = None,
    split: SplitMethod = None,
    groups: Groups = None,
    assignments: Assignments = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer",
            metavar="PATH",
            parser=as_path,
            help="A tokenizer.json, or its folder. Default: words and punctuation marks are counted as tokens.",
        ),
    ] = None,
    out: ImageFile = None,
    font: Font = None,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """Show statistics of stories, as a table and an image: lengths, vocabulary, image sizes, repetition."""
    form = chosen_format(form, as_json=as_json)
    use_font(font)
    flags = {"data.limit": limit, "data.split": split, "data.group_csv": groups}
    record = run_stats(
        load_registry(),
        source,
        dataset=dataset,
        flags=flags,
        assignments=assignments or [],
        tokenizer=tokenizer,
        out=out,
    )
    write_result(form, record, table=lambda: show_stats(record), sheet=lambda: _sheet(record))


def run_stats(
    registry: Registry, source: str | None, *, tokenizer: Path | None, out: Path | None, **options: Any
) -> dict[str, Any]:
    """Measure stories, draw the statistics, and return them for JSON; other options are those of `open_stories`."""
    from ...config.experiment import resolve_metrics
    from ...data.splits import SPLITS
    from ...data.statistics import WORDS_AND_MARKS, count_words_and_marks, measure, summary, token_counter
    from ...evaluation.baselines import copy_last_scores
    from ...report.dataset_charts import draw_statistics

    # Mistakes are reported before any story is read.
    count_tokens = token_counter(tokenizer) if tokenizer else count_words_and_marks
    metrics = resolve_metrics(registry, COPIED, [])
    picture = png_named(out) if out else _own_picture(source, options["dataset"])
    with open_stories(registry, source, **options) as opened:
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
    """Return where the image of stories that are not prepared goes; None: into the prepared folder."""
    if is_prepared(source, dataset):
        return None
    path = Path(f"{file_name(default_folder(source, dataset or default_dataset(source)).name)}-{STATISTICS}")
    if path.exists():
        raise VsrError(f"{path}: exists already, and nothing is overwritten; name another file with --out FILE")
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
        "frames per story": _range("frames_per_story"),
    },
    {
        "words per frame": _range("words_per_frame"),
        "tokens per frame": _range("tokens_per_frame"),
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
        "most common size": _size,
        "width": _range("image_width"),
        "height": _range("image_height"),
        "aspect ratio": _range("image_proportion"),
    },
    {
        "same text as before": _share("same_text_as_before"),
        "same image as before": _share("same_image_as_before"),
        "target text in context": _share("target_text_in_context"),
        "target image in context": _share("target_image_in_context"),
        "copy-last BLEU": _copied("bleu", 2),
        "copy-last ROUGE-L": _copied("rouge", 3),
    },
)
"""The rows of the table, by section: the title, and the cell of each split."""


def _sheet(record: Mapping[str, Any]) -> Sheet:
    """Return the statistics as a neutral table: a row for each, a column for each split."""
    from ...report.sheets import Sheet, flat

    splits = record["splits"]
    sections = [len(rows) for rows in ROWS]
    return Sheet(
        title=f"Statistics of {record['source']}",
        head=["", *splits],
        rows=[[title.strip(), *map(show, splits.values())] for rows in ROWS for title, show in rows.items()],
        rules=[sum(sections[:at]) for at in range(1, len(sections))],
        notes=[f"tokens: {record['tokens']}", LEGEND],
        records=[{"split": split, **flat(numbers)} for split, numbers in splits.items()],
    )


def show_stats(record: Mapping[str, Any]) -> None:
    """Print the statistics, a column for each split, and the path of the image."""
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
    console.print(f"image: {record['picture']}", markup=False, soft_wrap=True)
