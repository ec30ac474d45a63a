"""`vsr data`: looking at stories, prepared or as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..console import out as console
from ..console import say, styled
from ..errors import VsrError
from ..files.atomic import file_name, scratch_folder
from ..files.links import refuse_links
from ..plugin.registry import Registry
from ..report.tables import Column, fitting_table
from .prepare import default_dataset, open_dataset, prepare_config, read_stories

if TYPE_CHECKING:
    from ..data.lint import Problem
    from ..data.prepared import Prepared, StoredStory

READING = {"data.image_size": 64, "data.window": "sliding"}
"""How a source is read that is only looked at: every window of it, and pictures as small as their hashes allow."""
PLACES_SHOWN = 3
"""Of each kind of problem; --all shows all."""
COLOUR_OF = {"error": "bold red", "warning": "yellow", "note": "cyan"}


@dataclass(frozen=True)
class Opened:
    """Stories that can be looked at."""

    prepared: Prepared
    source: str
    """What they are called: the prepared folder, or what was read."""
    kept: bool
    """Whether the prepared folder is one of the user's, and not gone afterwards."""


@contextmanager
def open_stories(
    found: Registry,
    source: str | None,
    *,
    dataset: str | None,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    windowless: bool = False,
) -> Iterator[Opened]:
    """Open a prepared folder, or read a source as `vsr prepare` does, into a folder that is removed afterwards.

    Raises VsrError if there is neither, or options are given that a prepared folder can no longer take, or, unless
    stories may be `windowless`, not one window can be made of the source.
    """
    if means_prepared(source, dataset):
        from ..data.prepared import open_prepared

        folder = find_prepared(source)
        if any(value is not None for value in flags.values()) or assignments:
            raise VsrError(
                f"{folder}: is prepared, and options of preparing change nothing any more; leave them out, "
                "or name the stories' source"
            )
        yield Opened(open_prepared(folder), str(folder), kept=True)
        return
    name = dataset or default_dataset(source)
    config = prepare_config(found, dataset=name, preset=None, flags={**READING, **flags}, assignments=assignments)
    with scratch_folder() as place:
        folder = place / "data"
        prepared, _ = read_stories(config, open_dataset(config, source), source, folder, windowless=windowless)
        assert prepared is not None
        yield Opened(prepared, source or name, kept=False)


def means_prepared(source: str | None, dataset: str | None) -> bool:
    """Say whether stories that are prepared are meant: by their folder, or by no word at all."""
    from ..data.prepared import MANIFEST

    return dataset is None and (source is None or (Path(source) / MANIFEST).is_file())


def find_prepared(source: str | Path | None) -> Path:
    """Return the prepared folder that is named, or the newest under data/. Raises VsrError if there is none."""
    from ..data.prepared import newest_prepared

    folder = newest_prepared() if source is None else Path(source)
    if folder is None:
        raise VsrError("nothing is prepared under data/; run 'vsr prepare', or name the stories to look at")
    if source is None:
        say(f"the newest prepared data: {folder}")
    return folder


@dataclass(frozen=True)
class Lint:
    """What was found wrong with stories."""

    source: str
    problems: list[Problem]

    def count(self, severity: str) -> int:
        """Count the problems of a severity."""
        return sum(problem.severity == severity for problem in self.problems)


def find_problems(found: Registry, source: str | None, **options: Any) -> Lint:
    """Check stories; options are those of `open_stories`."""
    from ..data.lint import lint

    with open_stories(found, source, windowless=True, **options) as opened:
        return Lint(opened.source, list(lint(opened.prepared)))


def lint_record(found: Lint) -> dict[str, Any]:
    """Return what was found, for machines."""
    counts = {f"{severity}s": found.count(severity) for severity in ("error", "warning", "note")}
    return {"source": found.source, **counts, "problems": [problem.record() for problem in found.problems]}


def show_problems(found: Lint, *, every: bool) -> None:
    """Print what was found: each kind with its count and what to do, then where."""
    from ..data.defects import SEVERITIES, defect_of

    by_code: dict[str, list[Problem]] = {}
    for problem in found.problems:
        by_code.setdefault(problem.code, []).append(problem)
    kinds = [
        (severity, code)
        for severity in SEVERITIES
        for code in sorted(by_code, key=lambda code: (-len(by_code[code]), code))
        if defect_of(code).severity == severity
    ]
    counts = ", ".join(_counted(found.count(severity), severity) for severity in SEVERITIES)
    console.print(f"{found.source}: {counts}", style="bold", markup=False, soft_wrap=True)
    if not kinds:
        return
    columns = [
        Column("severity", [Text(severity, COLOUR_OF[severity]) for severity, _ in kinds], justify="left"),
        Column("problem", [code for _, code in kinds], justify="left"),
        Column("count", [f"{len(by_code[code]):,}" for _, code in kinds]),
    ]
    console.print(fitting_table(columns, width=console.width))
    for severity, code in kinds:
        problems = by_code[code]
        places = problems if every else problems[:PLACES_SHOWN]
        heading = styled("[bold]{}[/bold]: {}", code, defect_of(code).meaning)
        console.print(Text.assemble((severity, COLOUR_OF[severity]), " ", heading), soft_wrap=True)
        for problem in places:
            frame = "" if problem.frame is None else f", frame {problem.frame + 1}"
            console.print(f"  {problem.story}{frame}: {problem.detail}", markup=False, soft_wrap=True)
        if len(places) < len(problems):
            console.print(f"  and {len(problems) - len(places)} more; --all shows them", style="dim", soft_wrap=True)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def run_show(story: str, data: Path | None, out: Path | None) -> tuple[Prepared, StoredStory, Path]:
    """Draw a prepared story on one page. Gives the data, the story and where the page is."""
    from ..data.prepared import open_prepared
    from ..report.story_page import draw_story
    from ..report.storyboard import save_image

    page = png_named(out) if out else None
    prepared = open_prepared(find_prepared(data))
    told = prepared.story(story)
    if page is None:
        refuse_links(prepared.folder, ["show"])
        page = prepared.folder / "show" / f"{file_name(told.id)}.png"
    save_image(draw_story(prepared, told), page)
    return prepared, told, page


def show_record(prepared: Prepared, story: StoredStory, page: Path) -> dict[str, Any]:
    """Return a story for machines, and write the picture of each frame beside its page."""
    from ..report.story_page import frame_image
    from ..report.storyboard import save_image

    frames = []
    for frame in story.frames:
        picture, path = frame_image(prepared, frame), None
        if picture is not None:
            path = page.with_name(f"{page.stem}-{frame.index + 1:02d}.png")
            save_image(picture, path)
        entities = [
            {
                "kind": entity.kind,
                "ids": list(entity.ids),
                "start": entity.start,
                "end": entity.end,
                "text": (frame.text or "")[entity.start : entity.end],
            }
            for entity in frame.entities
        ]
        frames.append({"text": frame.text, "entities": entities, "image": str(path) if path else None})
    return {"story": story.id, "picture": str(page), "frames": frames}


def png_named(path: Path) -> Path:
    """Take a name that was given for a picture. Raises VsrError if it is not that of a PNG."""
    if path.suffix.lower() != ".png":
        raise VsrError(f"--out {path}: a PNG is written there; give it a name that ends in .png")
    return path
