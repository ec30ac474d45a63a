"""The options that several commands share, each declared once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ..config.choices import DecodingMethod, Launcher, Precision, Resize, Split, SplitBy, TableFormat, Tracker
from ..config.presets import preset_names
from ..files.home import expand_home
from ..plugin.kinds import KIND_OF, KINDS
from .parsing.commands import ASSIGNED
from .parsing.completion import complete_assignment, complete_run, complete_run_name


def as_path(typed: str | Path) -> Path:
    """Read a path from the command line: every option and argument that takes one has this as its `parser`."""
    return Path(as_source(str(typed)))


def as_source(typed: str) -> str:
    """Read a source from the command line: a path, or the name of a dataset."""
    if not typed:  # an unset variable of the shell, which pathlib takes for "."
        raise typer.BadParameter("it is empty; name a path")
    return expand_home(typed)


def finite(value: float | None) -> float | None:
    """Refuse NaN and infinity, which Typer takes for numbers. Raises typer.BadParameter."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def use_font(path: Path | None) -> None:
    """Draw the texts of all images in the font that --font names. Raises VsrError if it cannot be read."""
    if path is not None:
        from ..report.fonts import name_font

        name_font(path)


def completing(*sections: str) -> Callable[[str], list[str]]:
    """Return a function that completes the names of some kinds of component in the shell."""

    def complete(incomplete: str) -> list[str]:
        from ..plugin.discovery import registry

        names = {name for section in sections for name in registry().names(section)}
        return sorted(name for name in names if name.startswith(incomplete))

    return complete


def complete_kind(incomplete: str) -> list[str]:
    """Complete a kind of component."""
    return [kind.word for kind in KINDS if kind.word.startswith(incomplete)]


def _complete_preset(incomplete: str) -> list[str]:
    return [name for name in preset_names() if name.startswith(incomplete)]


def component_option(section: str, *, several: bool = False) -> Any:
    """Return an option that takes the name of a component, or several names."""
    kind = KIND_OF[section]
    return typer.Option(
        kind.flag,
        metavar="NAME..." if several else "NAME",
        help=f"One {kind.title} or several." if several else f"The {kind.title}.",
        autocompletion=completing(section),
    )


Source = Annotated[
    str | None,
    typer.Argument(
        parser=as_source,
        help="A folder that 'vsr prepare' wrote, or what it would read. Default: the newest folder under data/.",
    ),
]
Dataset = Annotated[str | None, component_option("dataset")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="How many stories to read; 0 reads all.")]
Resizing = Annotated[Resize | None, typer.Option("--resize", help="How an image becomes square.")]
SplitMethod = Annotated[
    SplitBy | None,
    typer.Option("--split", help="What decides a story's split; train, validation or test takes all stories."),
]
Groups = Annotated[
    Path | None,
    typer.Option(
        "--groups",
        metavar="FILE",
        parser=as_path,
        help="A CSV with the columns story and group (other names: --set data.story_column, data.group_column); a "
        "group is never divided among splits.",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option(
        "--metrics",
        metavar="NAME...",
        help="One metric or several, or all. Default: bleu (with bleu-lower) rouge meteor, and mse ssim sharpness "
        "diversity-image (not of 'ablate').",
        autocompletion=completing("metrics"),
    ),
]
SplitName = Annotated[Split, typer.Option("--split", help="Which split.")]
Decoding = Annotated[
    DecodingMethod | None,
    typer.Option("--decoding", help="How texts are generated; --set decoding.KEY=VALUE sets more."),
]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="S", help="Random seed of sampled texts and generated images.")
]
Alternatives = Annotated[
    int,
    typer.Option(
        "--alternatives", metavar="N", min=1, max=100, help="How many predictions of each frame, side by side."
    ),
]
FromFrame = Annotated[
    int | None,
    typer.Option(
        "--from", metavar="FRAME", min=1, help="Go on from this frame, counted from 1. Default: the last of the story."
    ),
]
ComponentName = Annotated[str, typer.Argument(help="The name of a component.", autocompletion=completing(*KIND_OF))]
KindOf = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Its kind, where components of several kinds have this name.",
        autocompletion=complete_kind,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        metavar="NAME",
        help="The settings to start from; 'vsr presets' lists them.",
        autocompletion=_complete_preset,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar=ASSIGNED,
        help="Any other settings.",
        autocompletion=complete_assignment,
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", parser=as_path, help="Settings in TOML or JSON; they override the preset's."
    ),
]
ScoredData = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        parser=as_path,
        help="The prepared folder that was scored: other data than the run's own, or that where it is now.",
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        parser=as_path,
        help="A folder that 'vsr prepare' wrote. Default: the newest under data/, or that of the run.",
    ),
]
RunFolder = Annotated[
    Path | None,
    typer.Option(
        "--run",
        metavar="RUN",
        parser=as_path,
        help="The run: its folder, its name under runs/, or user/name[@revision] on the Hugging Face Hub. Default: the "
        "newest finished one under runs/.",
        autocompletion=complete_run,
    ),
]
RunName = Annotated[
    Path | None,
    typer.Argument(
        parser=as_path,
        metavar="[RUN]",
        help="A run: its folder, its name under runs/, or user/name[@revision] on the Hugging Face Hub. Default: the "
        "newest.",
        autocompletion=complete_run_name,
    ),
]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", parser=as_path, help="The folder to write.")]
ImageFile = Annotated[Path | None, typer.Option("--out", metavar="FILE", parser=as_path, help="The PNG to write.")]
Font = Annotated[
    Path | None,
    typer.Option(
        "--font",
        metavar="FILE",
        parser=as_path,
        help="A font for the texts in images. Default: DejaVu Sans, and the system's fonts for what it lacks.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write the result as JSON to stdout.")]
Form = Annotated[
    TableFormat | None,
    typer.Option(
        "--format",
        help="How the result is written to stdout: a table for the terminal, Markdown, LaTeX (booktabs), CSV in full "
        "precision, or JSON (as --json).",
    ),
]
License = Annotated[
    str | None,
    typer.Option("--license", metavar="NAME", help="The licence of the weights, such as mit or cc-by-4.0."),
]
Storyboards = Annotated[
    bool | None,
    typer.Option(
        "--storyboards/--no-storyboards",
        help="Show texts and images of the data. Default: if its licence is known and allows it.",
    ),
]
Track = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="NAME",
        help=f"An experiment tracker to log to ({', '.join(get_args(Tracker))}); can be given several times.",
    ),
]


LauncherName = Annotated[
    Launcher,
    typer.Option("--launcher", help="Processes on this machine, jobs of SLURM by submitit, or tasks of a Ray cluster."),
]
JobSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--job",
        metavar="KEY=VALUE...",
        help="A parameter of submitit, e.g. timeout_min=60, or of Ray, e.g. num_gpus=1 or address=HOST:PORT.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Components:
    """The options that choose the components of a model."""

    visual: Annotated[str | None, component_option("visual")] = None
    text: Annotated[str | None, component_option("text")] = None
    fusion: Annotated[str | None, component_option("fusion")] = None
    temporal: Annotated[str | None, component_option("temporal")] = None
    text_decoder: Annotated[str | None, component_option("text_decoder")] = None
    image_decoder: Annotated[str | None, component_option("image_decoder")] = None

    def flags(self) -> dict[str, Any]:
        """Return what they set, by the path of the setting; None where an option was not given."""
        return {f"{each.name}.name": getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The options that set how a model is trained, beside its components."""

    preset: Preset = None
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Passes over the training windows.")] = (
        None
    )
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", metavar="N", help="Windows per forward pass and process.")
    ] = None
    precision: Annotated[Precision | None, typer.Option("--precision", help="Precision of matrix products.")] = None
    compile_model: Annotated[
        bool, typer.Option("--compile", help="Compile the model with torch.compile before training, for a GPU.")
    ] = False
    assignments: Assignments = None
    config: Config = None

    def flags(self) -> dict[str, Any]:
        """Return what they set, by the path of the setting; None where an option was not given."""
        return {
            "training.epochs": self.epochs,
            "training.batch_size": self.batch_size,
            "training.precision": self.precision,
            "training.compile": self.compile_model or None,
        }

    def layers(self) -> Mapping[str, Any]:
        """Return the arguments of `resolve_train_command` that come from these options, but the flags."""
        return {"preset": self.preset, "config": self.config, "assignments": self.assignments or []}
