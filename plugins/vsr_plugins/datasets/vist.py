"""The dataset `vist` (also called SIND): stories that people wrote about photo albums."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from typing_extensions import TypedDict  # pydantic takes typing's own only from Python 3.12 on

from vsr_cli.api import Dataset, Frame, Note, Rejected, Story, VsrError, own_name

from . import VistOptions

SPLIT_OF_FILE = {
    "train.story-in-sequence.json": "train",
    "val.story-in-sequence.json": "validation",
    "test.story-in-sequence.json": "test",
}
SUFFIXES = (".jpg", ".jpeg", ".png", ".gif")
"""In the order in which they are preferred, where one photo has two files."""
LAYOUT = "VIST's {train,val,test}.story-in-sequence.json, or the folder that holds them"


class _Annotation(TypedDict):
    """One photo of one story; other keys are ignored."""

    __pydantic_config__ = ConfigDict(coerce_numbers_to_str=True)  # type: ignore[misc]

    story_id: str
    photo_flickr_id: str
    worker_arranged_photo_order: int
    album_id: NotRequired[str | None]
    original_text: NotRequired[str | None]
    text: NotRequired[str | None]


def _or_none(value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    try:
        return validate(value)
    except ValidationError:
        return None


class _Image(TypedDict):
    __pydantic_config__ = ConfigDict(coerce_numbers_to_str=True)  # type: ignore[misc]

    id: str
    album_id: str


class _File(BaseModel):
    annotations: list[Annotated[list[_Annotation], WrapValidator(_or_none)] | None]
    """Each entry is a list, of one annotation in the published files; None: an entry of another form."""
    images: list[Annotated[_Image, WrapValidator(_or_none)] | None] = []


_FILE = TypeAdapter(_File)


def build(options: VistOptions) -> Dataset:
    """Return the dataset. Nothing is read yet."""
    return Vist(options)


class Vist:
    """Stories of five photos of an album, each told in a sentence. An album is a group.

    The source is one annotation file, or the folder of the three; then a story's split is that of its file (one
    file alone is no split: vsr splits its stories). One file's annotations are held in memory at a time. Names and
    places are masked in the source, as [male] or [location], and stay so. Codes of the notes: missing_image,
    outside_folder, missing_text; of what is rejected: bad_annotation, bad_order, two_albums.
    """

    def __init__(self, options: VistOptions) -> None:
        self.options = options

    def read(self, source: str | None) -> Iterator[Story | Rejected]:
        """Yield the stories, train before validation before test, in the files' order.

        No file outside the source's folder and the option's `images` is ever read. Raises VsrError if there are no
        annotations or no photos, or a file cannot be read.
        """
        files = _files(source)
        folder = files[0].parent
        photos = _photo_folder(folder, self.options.images).resolve()
        for path in files:
            if not path.resolve().is_relative_to(folder.resolve()):
                raise VsrError(f"{path}: is a link out of its folder; use the file itself, or copy it")
        return self._stories(files, photos, _index(photos))

    def describe(self, source: str | None) -> Mapping[str, str]:
        """Return the name of the file or folder. Reads no story."""
        files = _files(source)
        return {"source": files[0].name if len(files) == 1 else own_name(files[0].parent)}

    def _stories(self, files: Sequence[Path], photos: Path, index: Mapping[str, Path]) -> Iterator[Story | Rejected]:
        for path in files:
            split = SPLIT_OF_FILE.get(path.name) if len(files) > 1 else None
            written = _parse(path)
            albums = {image["id"]: image["album_id"] for image in written.images if image}
            stories: dict[str, list[_Annotation]] = {}
            for number, entry in enumerate(written.annotations):
                if not entry:
                    detail = "not a list of an object with story_id, photo_flickr_id and worker_arranged_photo_order"
                    yield Rejected(where=f"{path.name} annotation {number}", code="bad_annotation", detail=detail)
                for annotation in entry or ():
                    stories.setdefault(annotation["story_id"], []).append(annotation)
            del written
            for name, sentences in stories.items():
                yield self._story(name, sentences, albums=albums, split=split, photos=photos, index=index, path=path)

    def _story(
        self,
        name: str,
        annotations: Sequence[_Annotation],
        *,
        albums: Mapping[str, str],
        split: str | None,
        photos: Path,
        index: Mapping[str, Path],
        path: Path,
    ) -> Story | Rejected:
        where = f"{path.name} story {name}"
        annotations = sorted(annotations, key=lambda annotation: annotation["worker_arranged_photo_order"])
        places = [annotation["worker_arranged_photo_order"] for annotation in annotations]
        if any(after != before + 1 for before, after in pairwise(places)):
            detail = f"its photos' places are {', '.join(map(str, places))[:80]}, and not one after the other"
            return Rejected(where=where, code="bad_order", detail=detail)
        own = {a.get("album_id") or albums.get(a["photo_flickr_id"]) for a in annotations} - {None}
        if len(own) > 1:
            detail = f"its photos are of {len(own)} albums, which must not part across splits"
            return Rejected(where=where, code="two_albums", detail=detail)
        notes: list[Note] = []
        frames = []
        for number, annotation in enumerate(annotations):
            photo = annotation["photo_flickr_id"]
            image = index.get(photo)
            if image is None:
                detail = f"there is no file of photo {photo[:40]} in {photos.name}"
                notes.append(Note(code="missing_image", detail=detail, frame=number))
            elif not image.resolve().is_relative_to(photos):
                detail = f"{image.name} is a link out of {photos.name}; copy the file into it"
                notes.append(Note(code="outside_folder", detail=detail, frame=number))
                image = None
            text = _tidy(annotation.get("original_text")) or _tidy(annotation.get("text"))
            if not text:
                notes.append(Note(code="missing_text", detail=f"photo {photo[:40]} has no text", frame=number))
            frames.append(Frame(image=image, text=text or None))
        return Story(id=name, frames=tuple(frames), group=next(iter(own), None), split=split, notes=tuple(notes))


def _tidy(text: str | None) -> str:
    return " ".join((text or "").split())


def _files(source: str | None) -> list[Path]:
    if source is None:
        raise VsrError(f"vist: no source is given; name {LAYOUT}")
    path = Path(source)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise VsrError(f"{source}: no such file or folder; name {LAYOUT}")
    files = [path / name for name in SPLIT_OF_FILE if (path / name).is_file()]
    if not files:
        raise VsrError(f"{source}: holds none of {', '.join(SPLIT_OF_FILE)}; name {LAYOUT}")
    return files


def _photo_folder(folder: Path, chosen: Path | None) -> Path:
    photos = folder / "images" if chosen is None else chosen
    remedy = "name the folder of the photos with --set dataset.images=FOLDER"
    if not photos.is_dir():
        raise VsrError(f"{photos}: no such folder; {remedy}")
    if chosen is None and not photos.resolve().is_relative_to(folder.resolve()):
        raise VsrError(f"{photos}: is a link out of the source's folder; {remedy}")
    return photos


def _index(photos: Path) -> dict[str, Path]:
    """Return the file of each photo id, from the folder and the folders in it, as the archives unpack."""
    found: dict[str, Path] = {}
    try:
        with os.scandir(photos) as entries:
            folders = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
        for folder in (photos, *map(Path, folders)):
            with os.scandir(folder) as entries:
                names = sorted(entry.name for entry in entries if not entry.is_dir())
            for suffix in SUFFIXES:
                for name in names:
                    stem, ending = os.path.splitext(name)  # noqa: PTH122 - a Path for each of 200 000 files is slow
                    if ending.lower() == suffix:
                        found.setdefault(stem, folder / name)
    except OSError as error:
        raise VsrError(f"{photos}: the folder cannot be read ({error.strerror}); check its permissions") from error
    return found


def _parse(path: Path) -> _File:
    try:
        return _FILE.validate_json(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise VsrError(f"{path}: the file cannot be read ({error.strerror}); check its permissions") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        at = ".".join(map(str, first["loc"])) or "the file"
        what = f"not VIST's annotations ({at}: {' '.join(first['msg'].split())})"
        raise VsrError(f"{path}: {what}; use a story-in-sequence file as published") from error
