"""From a dataset's story to what is stored of it: pictures as arrays, and for each frame what is wrong with it."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..api import Frame, Rejected, Story, is_blank, is_file, nfc, shown
from ..config.choices import Resize
from ..files.strict_json import to_json, undefined_as_null
from ..system_errors import refuse_exhaustion
from .images import ImageProblem, Picture, digest_image, perceptual_hash, read_picture


@dataclass(frozen=True)
class Still:
    """A decoded picture, and what tells it from others."""

    picture: Picture
    digest: bytes
    """16 bytes, of the prepared pixels."""
    hash: int
    """Perceptual: see `images.perceptual_hash`."""


@dataclass(frozen=True)
class Digitised:
    """A story whose pictures are decoded."""

    record: dict[str, Any]
    """What `stored` gives, with the problems of its frames filled in."""
    stills: list[Still | None]
    """One a frame."""


def stored(item: Story | Rejected) -> dict[str, Any]:
    """Give what is kept of a story besides its pictures, as JSON has it. Frames' "image" and "problem" are None yet."""
    if isinstance(item, Rejected):
        return {"rejected": {"where": shown(item.where), "code": item.code, "detail": shown(item.detail)}}
    return {
        "id": nfc(shown(item.id)),
        "group": item.group and nfc(shown(item.group)),
        "split": item.split,
        "source_characters": item.source_characters,
        "analysis": undefined_as_null(dataclasses.asdict(item.analysis)) if item.analysis else None,
        "problems": [{"frame": note.frame, "code": note.code, "detail": shown(note.detail)} for note in item.notes],
        "frames": [_stored_frame(frame) for frame in item.frames],
    }


def _stored_frame(frame: Frame) -> dict[str, Any]:
    # The text as it is, since entities point into it; one that is no Unicode cannot be kept.
    text = frame.text if frame.text and not is_blank(frame.text) and _is_unicode(frame.text) else None
    entities = [[entity.kind, list(entity.ids), entity.start, entity.end] for entity in frame.entities]
    return {"text": text, "entities": entities if text else [], "image": None, "problem": None}


def content_of(item: Story | Rejected) -> bytes:
    """Digest all that is stored of a story, its encoded pictures included. Decodes nothing."""
    digest = hashlib.sha256(to_json(stored(item), sort_keys=True).encode())
    if isinstance(item, Story):
        for frame in item.frames:
            digest.update(_picture_digest(frame.image))
    return digest.digest()


def _picture_digest(image: Path | bytes | None) -> bytes:
    if image is None:
        return b"none"
    if isinstance(image, bytes):
        return hashlib.sha256(image).digest()
    try:
        if not is_file(image):
            return b"no file"
        with image.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        refuse_exhaustion(error, image)
        return f"unreadable {error.errno}".encode()


def digitise(story: Story, *, size: int, resize: Resize) -> Digitised:
    """Decode a story's pictures. A frame that lacks a half, or whose picture is bad, is marked with its problem."""
    record = stored(story)
    stills: list[Still | None] = []
    for index, (frame, entry) in enumerate(zip(story.frames, record["frames"], strict=True)):
        still: Still | None = None
        if entry["text"] is None:
            entry["problem"] = "missing_text"
            if frame.text and not is_blank(frame.text):
                entry["problem"] = "unreadable_text"
                why = "the text holds half of a character (a lone surrogate); write it anew as UTF-8"
                record["problems"].append({"frame": index, "code": "unreadable_text", "detail": why})
        if frame.image is None:
            entry["problem"] = "missing_image"
        else:
            where = str(frame.image) if isinstance(frame.image, Path) else f"story {story.id}, frame {index + 1}"
            try:
                picture = read_picture(frame.image, where=where, size=size, resize=resize)
                digest = bytes.fromhex(digest_image(picture.pixels))
                still = Still(picture, digest, perceptual_hash(picture.pixels))
            except ImageProblem as error:
                entry["problem"] = error.code
                record["problems"].append({"frame": index, "code": error.code, "detail": shown(str(error))})
        stills.append(still)
    return Digitised(record, stills)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
