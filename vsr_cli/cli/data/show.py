"""`vsr data show`: draw a prepared story."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...console import out as console
from ...console import print_json
from ...errors import VsrError
from ...files.atomic import file_name
from ...files.links import refuse_links
from ...workflows.stories import find_prepared
from ..arguments import Data, Font, ImageFile, Json, use_font
from ..parsing.commands import examples

if TYPE_CHECKING:
    from ...data.prepared import Prepared
    from ...data.prepared_types import StoredStory


@examples("vsr data show the-lost-kite", "vsr data show 812 --data data/story-reasoning --out story.png")
def data_show(
    story: Annotated[str, typer.Argument(help="The id of a story.")],
    data: Data = None,
    out: ImageFile = None,
    font: Font = None,
    as_json: Json = False,
) -> None:
    """Draw a prepared story, with its entities in colour, and print the path of the image."""
    use_font(font)
    prepared, stored, page = run_show(story, data, out)
    if as_json:
        print_json(show_record(prepared, stored, page))
    else:
        console.print(str(page), soft_wrap=True)


def run_show(story: str, data: Path | None, out: Path | None) -> tuple[Prepared, StoredStory, Path]:
    """Draw a prepared story on one page; return the data, the story and the path of the page."""
    from ...data.prepared import open_prepared
    from ...report.story_page import draw_story
    from ...report.storyboard import save_image

    page = png_named(out) if out else None
    prepared = open_prepared(find_prepared(data))
    stored = prepared.story(story)
    if page is None:
        refuse_links(prepared.folder, ["show"])
        page = prepared.folder / "show" / f"{file_name(stored.id)}.png"
    save_image(draw_story(prepared, stored), page)
    return prepared, stored, page


def show_record(prepared: Prepared, story: StoredStory, page: Path) -> dict[str, Any]:
    """Return a story for JSON, and write the image of each frame beside its page."""
    from ...report.story_page import frame_image
    from ...report.storyboard import save_image

    frames = []
    for frame in story.frames:
        image, path = frame_image(prepared, frame), None
        if image is not None:
            path = page.with_name(f"{page.stem}-{frame.index + 1:02d}.png")
            save_image(image, path)
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
    """Return the path of an image to write. Raises VsrError if it does not end in .png."""
    if path.suffix.lower() != ".png":
        raise VsrError(f"--out {path}: is not the name of a PNG; give it one that ends in .png")
    return path
