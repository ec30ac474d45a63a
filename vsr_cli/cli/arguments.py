"""The options that several commands share, each written once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, get_args

import typer

from ..files.home import expand_home
from ..plugin.kinds import KIND_OF, KINDS


def as_path(typed: str | Path) -> Path:
    """Read a path from the command line: every option and argument that takes one has this as its `parser`."""
    return Path(expand_home(str(typed)))


def use_font(path: Path | None) -> None:
    """Take the font that --font names for all images that are drawn. Raises VsrError if it cannot be read."""
    if path is not None:
        from ..report.fonts import name_font

        name_font(path)


def as_source(typed: str) -> str:
    """Read a source from the command line: a path, or a name that is none."""
    return expand_home(typed)


def completing(*sections: str) -> Callable[[str], list[str]]:
    """Make a function that completes the names of some kinds of component in the shell."""

    def complete(incomplete: str) -> list[str]:
        from ..plugin.discovery import registry

        names = {name for section in sections for name in registry().names(section)}
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


def _names(section: str) -> typer.models.OptionInfo:
    """An option that takes a component's name and completes it in the shell."""
    kind = KIND_OF[section]
    option: typer.models.OptionInfo = typer.Option(
        kind.flag, metavar="NAME", help=f"The {kind.title}, by name.", autocompletion=completing(section)
    )
    return option


def _complete_split(incomplete: str) -> list[str]:
    from ..data.splits import SPLITS

    return [name for name in SPLITS if name.startswith(incomplete)]


def _complete_protocol(incomplete: str) -> list[str]:
    from .leaky import PROTOCOLS

    return [name for name in PROTOCOLS if name.startswith(incomplete)]


def _choices(option: str) -> Callable[[str], list[str]]:
    """Make a function that completes what an option of the data may be."""

    def complete(incomplete: str) -> list[str]:
        from ..config.schema import DataOptions

        names = get_args(DataOptions.model_fields[option].annotation)
        return [name for name in names if name.startswith(incomplete)]

    return complete


def _complete_decoding(incomplete: str) -> list[str]:
    from ..api import Decoding

    names = get_args(Decoding.model_fields["method"].annotation)
    return [name for name in names if name.startswith(incomplete)]


def _complete_preset(incomplete: str) -> list[str]:
    from ..config.resolve import presets

    return [name for name in presets() if name.startswith(incomplete)]


def complete_kind(incomplete: str) -> list[str]:
    """Complete a kind of component."""
    return [kind.word for kind in KINDS if kind.word.startswith(incomplete)]


def _complete_tracker(incomplete: str) -> list[str]:
    from ..config.schema import Tracker

    return [name for name in get_args(Tracker) if name.startswith(incomplete)]


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity, which Typer takes for numbers. Raises typer.BadParameter."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


Visual = Annotated[str | None, _names("visual")]
Text = Annotated[str | None, _names("text")]
Fusion = Annotated[str | None, _names("fusion")]
Temporal = Annotated[str | None, _names("temporal")]
TextDecoder = Annotated[str | None, _names("text_decoder")]
ImageDecoder = Annotated[str | None, _names("image_decoder")]
Dataset = Annotated[str | None, _names("dataset")]

Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="NAME…",
        help="One or several, or all; else bleu rouge meteor.",
        autocompletion=completing("metrics"),
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="held-out|seed",
        help="seed: also how scores without a protocol come about, leak by leak; no result.",
        autocompletion=_complete_protocol,
    ),
]
Leaks = Annotated[
    list[str] | None,
    typer.Option("--leaks", metavar="NAME,…", help="For --protocol leaky: which to open; else all."),
]
Split = Annotated[
    str,
    typer.Option("--split", metavar="NAME", help="train, validation or test.", autocompletion=_complete_split),
]
Resize = Annotated[
    str | None,
    typer.Option(
        "--resize",
        metavar="stretch|letterbox|crop",
        help="How a picture becomes square.",
        autocompletion=_choices("resize"),
    ),
]
SplitBy = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="NAME",
        help="auto, official, group, block, file, or train, validation or test for all.",
        autocompletion=_choices("split"),
    ),
]
Groups = Annotated[
    Path | None,
    typer.Option(
        "--groups", metavar="FILE", parser=as_path, help="A CSV with columns story and group; a group never parts."
    ),
]
DecodingMethod = Annotated[
    str | None,
    typer.Option(
        "--decoding",
        metavar="greedy|beam|sample",
        help="How texts are written; --set decoding.KEY=VALUE says more.",
        autocompletion=_complete_decoding,
    ),
]
Component = Annotated[str, typer.Argument(help="A component's name.", autocompletion=completing(*KIND_OF))]
KindOf = Annotated[
    str | None,
    typer.Option(
        "--kind", metavar="KIND", help="Which kind, where several have the name.", autocompletion=complete_kind
    ),
]
Preset = Annotated[
    str | None,
    typer.Option("--preset", metavar="NAME", help="Where settings start from.", autocompletion=_complete_preset),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any option of any part; may be given many times."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", parser=as_path, help="Settings in TOML or JSON, over the preset's."),
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", parser=as_path, help="A folder that 'vsr prepare' wrote.")
]
Folds = Annotated[
    int | None,
    typer.Option(
        "--folds",
        metavar="N",
        min=2,
        help="Hold every story out once: train N models, and score all that they predict. Takes train's options.",
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option("--run", metavar="DIR", parser=as_path, help="The run; else the newest finished one under runs/."),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", parser=as_path, help="Where to write.")]
Font = Annotated[
    Path | None,
    typer.Option(
        "--font",
        metavar="FILE",
        parser=as_path,
        help="A font for the texts in images; else the system's fonts are searched for what DejaVu Sans lacks.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON to stdout and nothing else.")]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help="Feed an experiment tracker too: tensorboard, wandb, mlflow …; may be given many times.",
        autocompletion=_complete_tracker,
    ),
]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the training windows.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", metavar="N", help="Windows a process takes in one forward pass.")
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", metavar="auto|fp32|bf16|fp16", help="What matrix products are taken in, to train."),
]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the parts before training, for a GPU.")]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say what it would take, in memory, disk and time, from a few steps, and stop."),
]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        parser=as_path,
        help="Go on with this run; only --epochs and --data may be given with it.",
    ),
]
