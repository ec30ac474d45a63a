"""`vsr predict`: what happens next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api import Decoding, Rejected, Story
from ..config.resolve import Layer, Resolver
from ..console import out as console
from ..console import print_json, say
from ..errors import VsrError
from ..files.links import refuse_links
from ..files.locks import alone_in
from ..plugin.registry import Registry
from ..runs.run import Run
from .suggestions import IMAGES

if TYPE_CHECKING:
    from ..api import Dataset

GREEDY = Decoding()
PREDICTIONS = "predictions"
"""In a run folder."""
WRITING = 30.0
"""Seconds to wait for another process that writes the prediction of the same story."""
STORY = "a story: pairs of an image and a text such as 01.jpg and 01.txt, or a story.json"
TEXTS = (".txt", ".json")
NOTES = 3
"""Of a story, shown one by one."""
READER = "folder"
"""The dataset that reads a person's story folder."""


def run_predict(
    found: Registry, run: Run, sources: Sequence[Path], out: Path | None, *, decoding: Decoding = GREEDY, as_json: bool
) -> list[str]:
    """Predict the next frame of each story, and write and show it. Gives a line for each story that could not be."""
    dataset = _reader(found)
    stories, mistakes = _read(dataset, sources)
    if not stories:
        return mistakes

    from ..inference.predict import output_folders, predict_next, write_prediction
    from ..model.weights import choose_device, load_model

    device = choose_device("auto")
    trained_on = run.config()["data"]
    context_frames = int(trained_on["context_frames"])
    model = load_model(run, found).to(device)
    place = out or run.folder / PREDICTIONS
    folders = output_folders([story.id for story in stories], place)
    if out is None:
        refuse_links(run.folder, [PREDICTIONS], below=False)
    refuse_links(place, [folder.name for folder in folders])
    for story, folder in zip(stories, folders, strict=True):
        try:
            predicted = predict_next(
                model,
                story,
                context_frames=context_frames,
                image_size=int(trained_on["image_size"]),
                resize=trained_on["resize"],
                decoding=decoding,
                device=device,
            )
        except VsrError as error:
            mistakes += error.lines
            continue
        if (count := len(story.frames)) != context_frames:
            used = (
                f"the last {context_frames} of them are the context"
                if count > context_frames
                else f"fewer than {context_frames}: the last one is repeated to fill the context"
            )
            say(f"note: {story.id} has {count} {'frame' if count == 1 else 'frames'}, {used}")
        tell_notes(story, context_frames)
        busy = f"{folder}: another process is writing a prediction there; predict again, or name another --out"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with alone_in(folder, busy=busy, patience=WRITING):
                record = write_prediction(predicted, folder, run=run.folder, decoding=decoding)
        except VsrError as error:
            mistakes.append(str(error))
            continue
        if as_json:
            print_json(record)
        else:
            _show(record, folder)
    return mistakes


def tell_notes(story: Story, context_frames: int) -> None:
    """Say what was noted of a story as a whole, such as a file that is no frame of it, and of the frames read."""
    first = len(story.frames) - context_frames
    notes = [note.detail for note in story.notes if note.frame is None or note.frame >= first]
    for detail in notes[:NOTES]:
        say(f"note: {story.id}: {detail}")
    if notes[NOTES:]:
        say(f"note: {story.id}: and {len(notes) - NOTES} more; 'vsr data lint' lists them all")


def source_mistakes(found: Registry, sources: Sequence[Path]) -> list[str]:
    """Return a line for each story that cannot be read."""
    return _read(_reader(found), sources)[1]


def _show(record: dict[str, Any], folder: Path) -> None:
    console.print(record["story"], style="bold", markup=False, soft_wrap=True)
    console.print(record["text"] or "(the model wrote no word)", markup=False, soft_wrap=True)
    console.print(f"  image       {record['image']}", markup=False, soft_wrap=True)
    console.print(f"  storyboard  {folder / 'storyboard.png'}", markup=False, soft_wrap=True)


def _reader(found: Registry) -> Dataset:
    from ..plugin.loading import build

    resolver = Resolver(found, ["dataset"], [Layer("vsr predict", {"dataset": {"name": READER}})])
    choice = resolver.choice("dataset")
    resolver.finish()
    assert choice
    dataset: Dataset = build(choice.provided, choice.options)
    return dataset


def _read(dataset: Dataset, sources: Sequence[Path]) -> tuple[list[Story], list[str]]:
    stories: list[Story] = []
    mistakes: list[str] = []
    for source in sources:
        try:
            for story in _stories(dataset, source):
                if isinstance(story, Rejected):
                    mistakes.append(f"{story.where}: {story.detail}")
                else:
                    stories.append(story)
        except VsrError as error:
            mistakes += error.lines
    return stories, mistakes


def _stories(dataset: Dataset, source: Path) -> Iterator[Story | Rejected]:
    if not source.is_dir():
        what = "there is no such folder"
        if source.exists():
            what = "is one image, not a folder" if source.suffix.lower() in IMAGES else "is not a folder"
        raise VsrError(f"{source}: {what}; name a folder that holds {STORY}")
    names = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    images, texts = (sum(path.suffix.lower() in kinds for path in names) for kinds in (IMAGES, TEXTS))
    if images and not texts:
        raise VsrError(
            f"{source}: holds {images} images and no text; a story is told by both: write the text of each image "
            "beside it under its name, e.g. 01.jpg and 01.txt"
        )
    if texts and not images:
        raise VsrError(
            f"{source}: holds no image; put the image of each text beside it under its name, e.g. 01.jpg and 01.txt"
        )
    return dataset.read(str(source))
