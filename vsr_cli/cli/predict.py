"""`vsr predict`: generate the fifth image and text of stories."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import out as console
from ..console import print_json, say, warn
from ..errors import VsrError
from ..runs.predictions import NO_WORDS, STORYBOARD, prediction_folder
from ..workflows.settings import load_registry, open_to_predict
from .arguments import (
    Alternatives,
    Assignments,
    Decoding,
    Font,
    FromFrame,
    Json,
    Out,
    RunFolder,
    Seed,
    as_path,
    use_font,
)
from .parsing.commands import examples

if TYPE_CHECKING:
    from .. import api
    from ..plugin.registry import Registry
    from ..runs.run import Run


@examples(
    "vsr predict story_dir/",
    "vsr predict stories/* --out next/",
    "vsr predict story_dir/ --json | jq -r .text",
    "vsr predict story_dir/ --decoding sample --set decoding.top_p=0.9 --seed 1",
    "vsr predict story_dir/ --alternatives 4",
    "vsr predict story_dir/ --from 4",
)
def predict(
    story_dir: Annotated[
        list[Path],
        typer.Argument(
            parser=as_path, help="Folders of image and text pairs, 01.jpg and 01.txt, or with a story.json."
        ),
    ],
    run: RunFolder = None,
    decoding: Decoding = None,
    alternatives: Alternatives = 1,
    seed: Seed = None,
    from_frame: FromFrame = None,
    assignments: Assignments = None,
    font: Font = None,
    as_json: Json = False,
    out: Out = None,
) -> None:
    """Predict the next image and text of stories, from their last frames, and draw a storyboard of each."""
    use_font(font)
    registry = load_registry()
    flags = {"decoding.method": decoding, "decoding.seed": seed}
    opened, how = open_to_predict(registry, run, story_dir, flags=flags, assignments=assignments)
    if mistakes := run_predict(
        registry,
        opened,
        story_dir,
        out,
        decoding=how,
        as_json=as_json,
        alternatives=alternatives,
        from_frame=from_frame,
    ):
        raise VsrError(*mistakes)


def run_predict(
    registry: Registry,
    run: Run,
    sources: Sequence[Path],
    out: Path | None,
    *,
    decoding: api.Decoding,
    as_json: bool,
    alternatives: int = 1,
    from_frame: int | None = None,
) -> list[str]:
    """Predict the next frame of each story, write it and show it; return an error line for each story that fails.

    Several `alternatives` of each are refused in one line if nothing about a prediction is random. With `from_frame`,
    the frames after that one are not read.
    """
    from ..inference.predict import described_copy
    from ..inference.predictor import load_predictor
    from ..inference.storing import store_prediction, story_folders
    from ..inference.story_folders import notes_on, open_reader, read_stories, story_up_to

    stories, mistakes = read_stories(open_reader(registry), sources)
    if not stories:
        return mistakes
    predictor = load_predictor(run, registry)
    try:
        decodings = predictor.alternatives(decoding, alternatives)
    except VsrError as error:
        return [*mistakes, *error.lines]
    for caution in predictor.model.cautions:
        say(f"note: {caution}")
    shortened: list[tuple[api.Story, Path]] = []
    for story, story_folder in zip(stories, story_folders(run, out, [story.id for story in stories]), strict=True):
        try:
            shortened.append((story_up_to(story, from_frame), story_folder))
        except VsrError as error:
            mistakes += error.lines
    if unlike := predictor.caution_on([story for story, _ in shortened]):
        warn(unlike)
    for story, story_folder in shortened:
        try:
            predicted = predictor.predict(story, decodings)
            for note in notes_on(story, predictor.context_frames):
                say(f"note: {note}")
            folder = prediction_folder(
                story_folder, decoding, own=predictor.decoding, alternatives=alternatives, from_frame=from_frame
            )
            record = store_prediction(predicted, folder, run=run.folder, decodings=decodings)
        except VsrError as error:
            mistakes += error.lines
            continue
        if as_json:
            print_json(record)
        else:
            numbers = [each["copied"]["image_repeats_context"] for each in record.get("alternatives", [record])]
            images = [n and described_copy(each, n) for each, n in zip(predicted, numbers, strict=True)]
            _show(record, folder, images)
    return mistakes


def _show(record: dict[str, Any], folder: Path, images: Sequence[str | None]) -> None:
    """Print a prediction or its alternatives; `images` says of each which image of the context its image repeats."""
    console.print(record["story"], style="bold", markup=False, soft_wrap=True)
    alternatives = record.get("alternatives", [record])
    same = images[0] if len(alternatives) > 1 and len(set(images)) == 1 else None
    for number, (each, image) in enumerate(zip(alternatives, images, strict=True), start=1):
        text = each["text"] or NO_WORDS
        console.print(text if len(alternatives) == 1 else f"{number}. {text}", markup=False, soft_wrap=True)
        copied = each["copied"]
        line = f"{copied['context-overlap-4']:.0%} of its 4-grams stand in the context"
        if copied["repeats_context"]:
            line += f"; it repeats the text of frame {copied['repeats_context']}"
        if image and not same:
            line += f"; its image is {image}"
        console.print(f"  copied      {line}", soft_wrap=True)
        console.print(f"  image       {each['image']}", markup=False, soft_wrap=True)
    if same:
        console.print(f"  copied      the image of each is {same}", soft_wrap=True)
    storyboard = record.get("storyboard", folder / STORYBOARD)
    console.print(f"  storyboard  {storyboard}", markup=False, soft_wrap=True)
