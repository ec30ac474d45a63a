"""`vsr predict`: generate the fifth image and text of stories."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import out as console
from ..console import print_json, say, warn
from ..errors import VsrError
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..runs.predictions import PREDICTIONS, STORYBOARD
from ..workflows.settings import flag_layers, load_registry, open_with_options
from .arguments import Assignments, Decoding, Font, Json, Out, RunFolder, as_path, use_font
from .parsing.commands import examples
from .parsing.suggestions import IMAGES

if TYPE_CHECKING:
    from .. import api
    from ..plugin.registry import Registry
    from ..runs.run import Run

PATIENCE = 30.0
"""Seconds to wait for another process that writes the prediction of the same story."""
STORY = "a story: pairs of an image and a text such as 01.jpg and 01.txt, or a story.json"
TEXTS = (".txt", ".json")
NOTES = 3
"""Of a story, shown one by one."""
READER = "folder"
"""The dataset that reads a story folder."""


@examples(
    "vsr predict story_dir/",
    "vsr predict stories/* --out next/",
    "vsr predict story_dir/ --json | jq -r .text",
    "vsr predict story_dir/ --decoding sample --set decoding.top_p=0.9 --seed 1",
    "vsr predict story_dir/ --alternatives 4",
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
    alternatives: Annotated[
        int,
        typer.Option(
            "--alternatives", metavar="N", min=1, max=100, help="How many predictions of each story, side by side."
        ),
    ] = 1,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", help="Random seed of sampled texts and generated images.")
    ] = None,
    assignments: Assignments = None,
    font: Font = None,
    as_json: Json = False,
    out: Out = None,
) -> None:
    """Predict the next image and text of stories, from their last frames, and draw a storyboard of each."""
    use_font(font)
    from ..config.experiment import resolve_decoding
    from ..config.resolve import parse_set

    registry = load_registry()
    layers = [*flag_layers({"decoding.method": decoding, "decoding.seed": seed}), *parse_set(assignments or [])]
    opened, how = open_with_options(
        run,
        layers,
        lambda all_layers: resolve_decoding(registry, all_layers),
        others=lambda: _read(_reader(registry), story_dir)[1],
    )
    if mistakes := run_predict(
        registry, opened, story_dir, out, decoding=how, as_json=as_json, alternatives=alternatives
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
) -> list[str]:
    """Predict the next frame of each story, write it and show it; return an error line for each story that fails.

    Several `alternatives` of each are refused in one line if nothing about a prediction is random.
    """
    dataset = _reader(registry)
    stories, mistakes = _read(dataset, sources)
    if not stories:
        return mistakes

    from ..api.decoding import alternative_decodings
    from ..inference.alternatives import write_alternatives
    from ..inference.predict import output_folders, predict_alternatives, write_prediction
    from ..model.weights import choose_device, load_model

    device = choose_device("auto")
    trained_on = run.config()["data"]
    context_frames = int(trained_on["context_frames"])
    model = load_model(run, registry).to(device)
    if alternatives > 1 and not model.can_vary(decoding):
        refusal = (
            f"--alternatives {alternatives}: neither the text ({decoding.method} decoding by "
            f"{run.config()['text_decoder']['name']}) nor the image ({run.config()['image_decoder']['name']}) is "
            "random, so all would be the same; add --decoding sample if the text decoder writes texts of its own, or "
            "name a run whose image decoder generates from a seed"
        )
        return [*mistakes, refusal]
    decodings = alternative_decodings(decoding, alternatives)
    for caution in model.cautions:
        warn(caution)
    place = out or run.folder / PREDICTIONS
    folders = output_folders([story.id for story in stories], place)
    if out is None:
        refuse_links(run.folder, [PREDICTIONS], below=False)
    refuse_links(place, [folder.name for folder in folders])
    for story, folder in zip(stories, folders, strict=True):
        try:
            predicted = predict_alternatives(
                model,
                story,
                context_frames=context_frames,
                image_size=int(trained_on["image_size"]),
                resize=trained_on["resize"],
                decodings=decodings,
                device=device,
            )
        except VsrError as error:
            mistakes += error.lines
            continue
        report_notes(story, context_frames)
        busy = f"{folder}: another process is writing a prediction there; predict again, or name another --out"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with exclusive_lock(folder, busy=busy, patience=PATIENCE):
                if alternatives > 1:
                    record = write_alternatives(predicted, folder, run=run.folder, decodings=decodings)
                else:
                    record = write_prediction(predicted[0], folder, run=run.folder, decoding=decoding)
        except VsrError as error:
            mistakes.append(str(error))
            continue
        if as_json:
            print_json(record)
        else:
            _show(record, folder)
    return mistakes


def report_notes(story: api.Story, context_frames: int) -> None:
    """Report which frames are the context, and the notes on the story as a whole and on these frames."""
    if (count := len(story.frames)) != context_frames:
        used = (
            f"the last {context_frames} of them are the context"
            if count > context_frames
            else f"fewer than {context_frames}: the last one is repeated to fill the context"
        )
        say(f"note: {story.id} has {count} {'frame' if count == 1 else 'frames'}, {used}")
    first = count - context_frames
    notes = [note.detail for note in story.notes if note.frame is None or note.frame >= first]
    for detail in notes[:NOTES]:
        say(f"note: {story.id}: {detail}")
    if notes[NOTES:]:
        say(f"note: {story.id}: and {len(notes) - NOTES} more; 'vsr data lint' lists them all")


def _show(record: dict[str, Any], folder: Path) -> None:
    console.print(record["story"], style="bold", markup=False, soft_wrap=True)
    alternatives = record.get("alternatives", [record])
    for number, each in enumerate(alternatives, start=1):
        text = each["text"] or "(the model generated no words)"
        console.print(text if len(alternatives) == 1 else f"{number}. {text}", markup=False, soft_wrap=True)
        copied = each["copied"]
        line = f"{copied['context-overlap-4']:.0%} of its 4-grams stand in the context"
        if copied["repeats_context"]:
            line += f"; it repeats the text of frame {copied['repeats_context']}"
        if copied["image_repeats_context"]:
            line += f"; its image is a near-duplicate of that of frame {copied['image_repeats_context']}"
        console.print(f"  copied      {line}", soft_wrap=True)
        console.print(f"  image       {each['image']}", markup=False, soft_wrap=True)
    storyboard = record.get("storyboard", folder / STORYBOARD)
    console.print(f"  storyboard  {storyboard}", markup=False, soft_wrap=True)


def _reader(registry: Registry) -> api.Dataset:
    from ..config.resolve import Layer, Resolver
    from ..plugin.loading import build

    resolver = Resolver(registry, ["dataset"], [Layer("vsr predict", {"dataset": {"name": READER}})])
    choice = resolver.choice("dataset")
    resolver.finish()
    assert choice
    dataset: api.Dataset = build(choice.provided, choice.options)
    return dataset


def _read(dataset: api.Dataset, sources: Sequence[Path]) -> tuple[list[api.Story], list[str]]:
    from ..api import Rejected

    stories: list[api.Story] = []
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


def _stories(dataset: api.Dataset, source: Path) -> Iterator[api.Story | api.Rejected]:
    if not source.is_dir():
        what = "there is no such folder"
        if source.exists():
            what = "is one image, not a folder" if source.suffix.lower() in IMAGES else "is not a folder"
        raise VsrError(f"{source}: {what}; name a folder that holds {STORY}")
    names = [path for path in source.iterdir() if path.is_file() and not path.name.startswith(".")]
    images, texts = (sum(path.suffix.lower() in kinds for path in names) for kinds in (IMAGES, TEXTS))
    if images and not texts:
        raise VsrError(
            f"{source}: holds {images} images and no text; a story needs both; write the text of each image "
            "beside it under its name, e.g. 01.jpg and 01.txt"
        )
    if texts and not images:
        raise VsrError(
            f"{source}: holds no image; put the image of each text beside it under its name, e.g. 01.jpg and 01.txt"
        )
    return dataset.read(str(source))
