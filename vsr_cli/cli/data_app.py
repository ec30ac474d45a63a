"""What can be typed after `vsr data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..console import out as console
from ..console import print_json
from .arguments import Assignments, Data, Dataset, Font, Groups, Json, SplitBy, as_path, as_source, use_font
from .parsing import examples

FAILED = 1

data_app = typer.Typer(no_args_is_help=True, help="Look at stories: what is wrong with them, and what they are like.")

Source = Annotated[
    str | None,
    typer.Argument(
        parser=as_source,
        help="A folder that 'vsr prepare' wrote, or what it would read. None: the newest prepared under data/.",
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="How many stories to read; 0: all.")]
Picture = Annotated[Path | None, typer.Option("--out", metavar="FILE", parser=as_path, help="The PNG to write.")]


@data_app.command(
    "lint",
    epilog=examples(
        "vsr data lint my_stories/",
        "vsr data lint data/my_stories --all",
        "vsr data lint --dataset story-reasoning --limit 500 --json | jq .errors",
    ),
)
def data_lint(
    source: Source = None,
    dataset: Dataset = None,
    limit: Limit = None,
    split: SplitBy = None,
    groups: Groups = None,
    assignments: Assignments = None,
    every: Annotated[bool, typer.Option("--all", help="Show every place, not a few of each kind.")] = False,
    as_json: Json = False,
) -> None:
    """List what is wrong with stories, by kind and place. The exit code is 1 where there are errors."""
    from .data import find_problems, lint_record, show_problems
    from .settings import registry

    flags = {"data.limit": limit, "data.split": split, "data.group_csv": groups}
    found = find_problems(registry(), source, dataset=dataset, flags=flags, assignments=assignments or [])
    if as_json:
        print_json(lint_record(found))
    else:
        show_problems(found, every=every)
    if found.count("error"):
        raise typer.Exit(FAILED)


@data_app.command(
    "stats",
    epilog=examples(
        "vsr data stats",
        "vsr data stats my_stories/ --out my_stories.png",
        "vsr data stats data/my_stories --tokenizer distilbert/",
    ),
)
def data_stats(
    source: Source = None,
    dataset: Dataset = None,
    limit: Limit = None,
    split: SplitBy = None,
    groups: Groups = None,
    assignments: Assignments = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            "--tokenizer", metavar="PATH", parser=as_path, help="A tokenizer.json, or its folder, to count tokens with."
        ),
    ] = None,
    out: Picture = None,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Tell what stories are like: lengths, words, markup, sizes, repetition, in numbers and a picture."""
    use_font(font)
    from .data_stats import run_stats, show_stats
    from .settings import registry

    flags = {"data.limit": limit, "data.split": split, "data.group_csv": groups}
    record = run_stats(
        registry(), source, dataset=dataset, flags=flags, assignments=assignments or [], tokenizer=tokenizer, out=out
    )
    if as_json:
        print_json(record)
    else:
        show_stats(record)


@data_app.command("verify", epilog=examples("vsr data verify", "vsr data verify data/my_stories --json"))
def data_verify(
    data: Annotated[
        Path | None, typer.Argument(parser=as_path, help="A folder that 'vsr prepare' wrote. None: the newest.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Read every file of prepared data and compare it with its checksum. Exit code 1 if something is damaged."""
    from .verify import show_verified, verify_data

    folder, found = verify_data(data)
    show_verified(folder, found, as_json=as_json)


@data_app.command(
    "show",
    epilog=examples("vsr data show the-lost-kite", "vsr data show 812 --data data/story-reasoning --out story.png"),
)
def data_show(
    story: Annotated[str, typer.Argument(help="A story's id.")],
    data: Data = None,
    out: Picture = None,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Draw a prepared story, with who and what it speaks of in colour."""
    use_font(font)
    from .data import run_show, show_record

    prepared, told, page = run_show(story, data, out)
    if as_json:
        print_json(show_record(prepared, told, page))
    else:
        console.print(str(page), soft_wrap=True)
