"""`vsr continue`: continue a story by several frames."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..console import out as console
from ..console import print_json, say, styled, warn
from ..inference.continuation_checks import STEPS
from ..runs.predictions import NO_WORDS, continuation_folder
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
    "vsr continue story_dir/ --steps 3",
    "vsr continue story_dir/ --steps 3 --decoding sample --alternatives 4 --seed 1",
    "vsr continue story_dir/ --steps 3 --decoding sample --alternatives 4 --seed 1 --pick 3 1",
    "vsr continue story_dir/ --from 2",
)
def continue_(
    story_dir: Annotated[
        Path,
        typer.Argument(parser=as_path, help="A folder of image and text pairs, 01.jpg and 01.txt, or a story.json."),
    ],
    run: RunFolder = None,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", min=1, max=STEPS, help="How many frames to predict.")
    ] = 3,
    alternatives: Alternatives = 1,
    pick: Annotated[
        list[int] | None,
        typer.Option(
            "--pick",
            metavar="I...",
            help="With which alternative the story goes on, from 1; several numbers: at each step, the last one at all "
            "further steps. Default: 1.",
        ),
    ] = None,
    decoding: Decoding = None,
    seed: Seed = None,
    from_frame: FromFrame = None,
    assignments: Assignments = None,
    mp4: Annotated[bool, typer.Option("--mp4", help="Write a video too; needs the extra 'video'.")] = False,
    font: Font = None,
    as_json: Json = False,
    out: Out = None,
) -> None:
    """Continue a story: predict its next frame, then the one after that, and so on.

    Each predicted frame becomes the newest one of the context. With several alternatives, all of them are shown at each
    step, and the story goes on with the first or with those of --pick. The result is a story folder, which can be
    edited and continued again, a storyboard and an animation.
    """
    use_font(font)
    registry = load_registry()
    flags = {"decoding.method": decoding, "decoding.seed": seed}
    opened, how = open_to_predict(registry, run, [story_dir], flags=flags, assignments=assignments)
    run_continue(
        registry,
        opened,
        story_dir,
        out,
        steps=steps,
        alternatives=alternatives,
        picks=pick or [1],
        decoding=how,
        from_frame=from_frame,
        mp4=mp4,
        as_json=as_json,
    )


def run_continue(
    registry: Registry,
    run: Run,
    source: Path,
    out: Path | None,
    *,
    steps: int,
    alternatives: int,
    picks: Sequence[int],
    decoding: api.Decoding,
    from_frame: int | None,
    mp4: bool,
    as_json: bool,
) -> None:
    """Continue a story, write the result and show it."""
    from ..inference.continuation_checks import check_size, picks_of
    from ..inference.story_folders import notes_on, open_reader, read_one_story, story_up_to
    from ..report.animation import check_mp4

    check_size(steps=steps, alternatives=alternatives)
    chosen = picks_of(picks, steps=steps, alternatives=alternatives)
    story = story_up_to(read_one_story(open_reader(registry), source), from_frame)
    if mp4:
        check_mp4()
    # What is wrong has been reported by now, without waiting for torch.
    from ..inference.continuation import continue_story
    from ..inference.continuation_storing import store_continuation
    from ..inference.predictor import load_predictor
    from ..inference.storing import story_folders
    from ..progress import progress

    predictor = load_predictor(run, registry)
    decodings = predictor.alternatives(decoding, alternatives)
    for caution in predictor.model.cautions:
        say(f"note: {caution}")
    if unlike := predictor.caution_on([story]):
        warn(unlike)
    (story_folder,) = story_folders(run, out, [story.id])
    for note in notes_on(story, predictor.context_frames):
        say(f"note: {note}")
    with progress() as bar:
        task = bar.add_task("predicting frames", total=steps)
        continued = continue_story(
            predictor, story, decodings=decodings, picks=chosen, on_step=lambda step: bar.advance(task)
        )
    folder = continuation_folder(
        story_folder, decoding, own=predictor.decoding, first=len(story.frames) + 1, picks=chosen
    )
    record = store_continuation(continued, folder, run=run.folder, mp4=mp4)
    print_json(record) if as_json else _show(record)


def _show(record: dict[str, Any]) -> None:
    console.print(record["story"], style="bold", markup=False, soft_wrap=True)
    for step in record["steps"]:
        texts = [each["text"] or NO_WORDS for each in step["alternatives"]]
        if len(texts) == 1:
            console.print(f"frame {step['frame']}: {texts[0]}", markup=False, soft_wrap=True)
            continue
        console.print(f"frame {step['frame']}:", markup=False)
        for number, text in enumerate(texts, start=1):
            pattern = "  [bold]{}. {}[/bold] (picked)" if number == step["pick"] else "  {}. {}"
            console.print(styled(pattern, number, text), soft_wrap=True)
    shown = ("storyboard", "alternatives", "gif", "mp4", "folder")
    for name in shown:
        if record[name]:
            console.print(f"  {name:<12}  {record[name]}", markup=False, soft_wrap=True)
    command = shlex.join(["vsr", "continue", record["folder"], "--run", record["run"]])
    say(f"next: edit the texts or images in the folder, then: {command}")
