"""The files of a continued story: images of all of it, an animation, and a story folder to edit and to continue.

storyboard.png       the whole story, predicted frames marked
alternatives.png     all predictions of each step, if there are several
alternatives/05-2.png, 05-2.txt    each of these
story.gif, story.mp4
STORY/01.jpg 01.txt  the story as a folder of pairs
continuation.json    what was predicted and how, and the checksums of the pairs
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..data.images import image_suffix
from ..errors import VsrError
from ..files.atomic import file_name, read_json, remove, replacing_folder, write_json
from ..files.checksums import file_checksum
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..report.animation import animation_frames, save_gif, save_mp4
from ..report.storyboard import (
    Panel,
    alternative_panel,
    context_panel,
    draw_storyboard,
    in_rows,
    save_image,
    story_panel,
)
from ..runs.predictions import STORYBOARD
from .continuation import Continuation, frame_of
from .predict import copied_from, shown_image
from .storing import PATIENCE

RECORD, ALTERNATIVES = "continuation.json", "alternatives"
GIF, MP4 = "story.gif", "story.mp4"
COLUMNS = 4
"""Panels of a row."""


def story_panels(continued: Continuation) -> list[Panel]:
    """Return a panel of each frame of a continued story, the predicted ones marked."""
    frames = zip(continued.images, continued.given.frames, strict=True)
    given = [context_panel(number, image, frame.text or "") for number, (image, frame) in enumerate(frames, start=1)]
    steps = [story_panel(step.number, shown_image(step.picked), step.picked.text) for step in continued.steps]
    return [*given, *steps]


def story_storyboard(continued: Continuation) -> Image.Image:
    """Return an image of the whole story."""
    return draw_storyboard(in_rows(story_panels(continued), COLUMNS))


def steps_storyboard(continued: Continuation) -> Image.Image:
    """Return an image of all alternatives of each step, those that the story went on with marked."""
    rows: list[Sequence[Panel]] = []
    for step in continued.steps:
        panels = [
            alternative_panel(step.number, index, shown_image(each), each.text, picked=index == step.pick)
            for index, each in enumerate(step.alternatives, start=1)
        ]
        rows += in_rows(panels, COLUMNS)
    return draw_storyboard(rows)


def store_continuation(continued: Continuation, folder: Path, *, run: Path, mp4: bool = False) -> dict[str, Any]:
    """Write the files of a continued story into a folder, and return the content of continuation.json.

    Raises VsrError if another process writes there, if the story folder there was edited, or if a file is a link.
    """
    busy = f"{folder}: another process is writing there; wait for it, or name another folder"
    with exclusive_lock(folder, busy=busy, patience=PATIENCE):
        story = folder / (file_name(continued.given.id) or "story")
        refuse_links(folder, [story.name, ALTERNATIVES, STORYBOARD, f"{ALTERNATIVES}.png", GIF, MP4, RECORD])
        _refuse_edited(folder)
        # Written last: it marks the other files as complete.
        (folder / RECORD).unlink(missing_ok=True)
        for name in (ALTERNATIVES, f"{ALTERNATIVES}.png", MP4):  # of a continuation that had them
            remove(folder / name) if (folder / name).exists() else None
        _write_pairs(continued, story)
        save_image(story_storyboard(continued), folder / STORYBOARD)
        frames = animation_frames(story_panels(continued))
        save_gif(frames, folder / GIF)
        if mp4:
            save_mp4(frames, folder / MP4)
        several = len(continued.decodings) > 1
        if several:
            save_image(steps_storyboard(continued), folder / f"{ALTERNATIVES}.png")
            _write_alternatives(continued, folder / ALTERNATIVES)
        record = {
            "story": continued.given.id,
            "continued_from": len(continued.given.frames),
            "run": str(run),
            "decoding": continued.decodings[0].facts(),
            "steps": [
                {
                    "frame": step.number,
                    "pick": step.pick,
                    "text": step.picked.text,
                    "copied": copied_from(step.picked),
                    "alternatives": [
                        {"seed": decoding.seed, "text": each.text}
                        for decoding, each in zip(continued.decodings, step.alternatives, strict=True)
                    ],
                }
                for step in continued.steps
            ],
            "folder": str(story),
            "storyboard": str(folder / STORYBOARD),
            "alternatives": str(folder / f"{ALTERNATIVES}.png") if several else None,
            "gif": str(folder / GIF),
            "mp4": str(folder / MP4) if mp4 else None,
            "checksums": {f"{story.name}/{path.name}": file_checksum(path) for path in sorted(story.iterdir())},
        }
        write_json(folder / RECORD, record)
    return record


def _refuse_edited(folder: Path) -> None:
    """Raise VsrError if a pair that an earlier continuation wrote was changed, removed or joined by others."""
    if not (folder / RECORD).exists():
        return
    checksums: dict[str, str] = read_json(folder / RECORD, what="a continuation").get("checksums", {})
    names = {Path(name).parent for name in checksums}
    there = {f"{name}/{path.name}" for name in names if (folder / name).is_dir() for path in (folder / name).iterdir()}
    changed = [
        name
        for name in sorted(there | checksums.keys())
        if name not in there or name not in checksums or file_checksum(folder / name) != checksums[name]
    ]
    if changed:
        raise VsrError(
            f"{folder / changed[0]}: was edited, and would be overwritten; continue the edited story itself with "
            f"'vsr continue {folder / Path(changed[0]).parent}', or name another --out"
        )


def _write_pairs(continued: Continuation, folder: Path) -> None:
    """Write the frames as numbered pairs: given images as they are, predicted ones as PNG."""
    predicted = [frame_of(step.picked) for step in continued.steps]
    frames = [*continued.given.frames, *predicted]
    digits = max(2, len(str(len(frames))))
    with replacing_folder(folder) as temporary:
        for number, frame in enumerate(frames, start=1):
            assert frame.image is not None
            content = frame.image if isinstance(frame.image, bytes) else frame.image.read_bytes()
            stem = f"{number:0{digits}}"
            (temporary / f"{stem}{image_suffix(content)}").write_bytes(content)
            (temporary / f"{stem}.txt").write_text(f"{frame.text}\n", encoding="utf-8")


def _write_alternatives(continued: Continuation, folder: Path) -> None:
    with replacing_folder(folder) as temporary:
        for stem, image, text in _alternatives(continued):
            image.save(temporary / f"{stem}.png")
            (temporary / f"{stem}.txt").write_text(f"{text}\n", encoding="utf-8")


def _alternatives(continued: Continuation) -> Iterator[tuple[str, Image.Image, str]]:
    for step in continued.steps:
        for index, each in enumerate(step.alternatives, start=1):
            yield f"{step.number:02}-{index}", shown_image(each), each.text
