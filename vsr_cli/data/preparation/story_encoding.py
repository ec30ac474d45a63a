"""Encode a dataset's stories for storage: images as arrays, the problems of each frame, and optional markup."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...api import Entity, Frame, Rejected, Story, is_blank, is_file, nfc, shown
from ...config.choices import Resize
from ...files.strict_json import to_json, undefined_as_null
from ...system_errors import refuse_exhaustion
from ..duplicates import digest_image, perceptual_hash
from ..images import FittedImage, ImageProblem, read_image
from ..scratch import scratch_array

HELD = 32 * 2**20
"""Bytes of decoded images of one story that are held in memory; those of a longer one are in a temporary file."""


@dataclass(frozen=True)
class ImageRecord:
    """A decoded image with its digest and perceptual hash."""

    image: FittedImage
    digest: bytes
    """16 bytes, of the prepared pixels."""
    hash: int
    """Perceptual: see `images.perceptual_hash`."""


@dataclass(frozen=True)
class EncodedStory:
    """The record of a story and its decoded images."""

    record: dict[str, Any]
    """What `stored` returns, with the problems of the frames filled in."""
    images: list[ImageRecord | None]
    """One per frame."""


def stored(item: Story | Rejected) -> dict[str, Any]:
    """Return the record of a story, as JSON, without its images. "image" and "problem" of its frames are still None."""
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
    # The text is not changed, since entities refer to positions in it; invalid Unicode cannot be stored.
    text = frame.text if frame.text and not is_blank(frame.text) and _is_unicode(frame.text) else None
    entities = [[entity.kind, list(entity.ids), entity.start, entity.end] for entity in frame.entities]
    return {"text": text, "entities": entities if text else [], "image": None, "problem": None}


def content_of(item: Story | Rejected) -> bytes:
    """Digest the record of a story and its encoded images, without decoding them."""
    digest = hashlib.sha256(to_json(stored(item), sort_keys=True).encode())
    if isinstance(item, Story):
        for frame in item.frames:
            digest.update(_image_digest(frame.image))
    return digest.digest()


def _image_digest(image: Path | bytes | None) -> bytes:
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


def encode_story(story: Story, *, size: int, resize: Resize) -> EncodedStory:
    """Decode the images of a story. A frame without an image or text, or with a bad image, gets a problem code."""
    record = stored(story)
    images: list[ImageRecord | None] = []
    shape = (len(story.frames), size, size, 3)
    held = scratch_array(shape, np.uint8) if math.prod(shape) > HELD else None
    for index, (frame, entry) in enumerate(zip(story.frames, record["frames"], strict=True)):
        image: ImageRecord | None = None
        if entry["text"] is None:
            entry["problem"] = "missing_text"
            if frame.text and not is_blank(frame.text):
                entry["problem"] = "unreadable_text"
                why = "the text holds half of a character (a lone surrogate); save it as UTF-8"
                record["problems"].append({"frame": index, "code": "unreadable_text", "detail": why})
        if frame.image is None:
            entry["problem"] = "missing_image"
        else:
            where = str(frame.image) if isinstance(frame.image, Path) else f"story {story.id}, frame {index + 1}"
            try:
                fitted = read_image(frame.image, where=where, size=size, resize=resize)
                digest = bytes.fromhex(digest_image(fitted.pixels))
                if held is not None:
                    held[index] = fitted.pixels
                    fitted = replace(fitted, pixels=held[index])
                image = ImageRecord(fitted, digest, perceptual_hash(fitted.pixels))
            except ImageProblem as error:
                entry["problem"] = error.code
                record["problems"].append({"frame": index, "code": error.code, "detail": shown(str(error))})
        images.append(image)
    return EncodedStory(record, images)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


TAGS = {"object": "gdo", "action": "gda", "landmark": "gdl"}


def marked_up(story: Story) -> Story:
    """Write tags for the frames and entities of a story into its texts, and adjust the spans of the entities."""
    frames = [_marked_frame(frame, number) for number, frame in enumerate(story.frames, start=1)]
    return replace(story, frames=tuple(frames))


def _marked_frame(frame: Frame, number: int) -> Frame:
    if not frame.text:
        return frame
    opener, closer = f"<gdi image{number}>\n", "\n</gdi>"
    text, entities = _tagged(frame.text, frame.entities)
    moved = [replace(entity, start=entity.start + len(opener), end=entity.end + len(opener)) for entity in entities]
    return replace(frame, text=f"{opener}{text}{closer}", entities=tuple(moved))


def _tagged(text: str, entities: Sequence[Entity]) -> tuple[str, list[Entity]]:
    """Put each entity between its tags, an inner one within an outer one."""
    # At one position, closing tags come before opening ones; inner tags close first, outer tags open first.
    edges = [(entity.end, 0, -entity.start, -number) for number, entity in enumerate(entities)]
    edges += [(entity.start, 1, -entity.end, number) for number, entity in enumerate(entities)]
    starts, ends = [0] * len(entities), [0] * len(entities)
    parts: list[str] = []
    length = done = 0
    for at, opens, _, signed in sorted(edges):
        number = abs(signed)
        entity = entities[number]
        tag = TAGS.get(entity.kind, "gdo")
        words = text[done:at]
        length, done = length + len(words), at
        written = f"<{tag} {' '.join(entity.ids)}>" if opens else f"</{tag}>"
        parts += [words, written]
        if opens:
            starts[number] = length + len(written)
        else:
            ends[number] = length
        length += len(written)
    spans = [replace(entity, start=starts[n], end=ends[n]) for n, entity in enumerate(entities)]
    return "".join([*parts, text[done:]]), spans
