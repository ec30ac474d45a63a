"""`vsr demo`: the whole of it on the embedded dataset, in a minute or two, ending in pictures to open."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from ..api import Story
from ..console import out as console
from ..console import say, styled
from ..errors import VsrError
from ..files.atomic import is_empty
from ..files.links import refuse_links
from ..files.locks import alone_in
from ..plugin.registry import Registry
from .evaluate import DEFAULT_METRICS

EXAMPLES = 3
"""Stories written out for `vsr predict`."""
UNSEEN_SEED = 1_000_003
"""Their seed: far from the training stories', so that none of them was seen."""


def run_demo(found: Registry, out: Path) -> None:
    """Prepare, train, evaluate and predict under `out`. Raises VsrError if something else is there already."""
    taken = f"--out {out}: exists and is not a demo's folder; name another, nothing is overwritten"
    if out.exists() and not out.is_dir():
        raise VsrError(taken)
    with alone_in(out, busy=f"{out}: another process runs the demo there; wait for it, or name another --out"):
        if not is_empty(out) and not (out / "data").is_dir():
            raise VsrError(taken)
        refuse_links(out, ["data", "runs"], below=False)
        refuse_links(out, ["stories", "predictions"])
        _run(found, out)


def _run(found: Registry, out: Path) -> None:
    from ..config.experiment import resolve_metrics
    from .evaluate import run_evaluate, show_result
    from .predict import run_predict
    from .prepare import prepare_config, run_prepare, show_prepared
    from .settings import train_config
    from .train import read_manifest, run_train

    started = time.perf_counter()
    _head(1, "prepare", "stories that vsr draws and tells itself")
    config = prepare_config(found, dataset="storyworld", preset="tiny", flags={}, assignments=[])
    data = out / "data"
    show_prepared(run_prepare(config, None, data))

    _head(2, "train", "every part from scratch, on this machine")
    settings = train_config(found, manifest=read_manifest(data), preset=None, config=None, flags={}, assignments=[])
    run = run_train(settings, data, _next_run(out))

    _head(3, "evaluate", "stories that the model has not seen, beside baselines and an upper bound")
    result = run_evaluate(found, run, data, "test", resolve_metrics(found, [*DEFAULT_METRICS, "mse", "ssim"], []))
    show_result(result, run.folder / "evaluations" / "test")

    _head(4, "predict", "the fifth frame of stories in folders, as yours would be")
    folders = write_examples(found, out / "stories")
    mistakes = run_predict(found, run, folders, out / "predictions", as_json=False)
    if mistakes:
        raise VsrError(*mistakes)
    console.print()
    console.print(f"done in {time.perf_counter() - started:.0f} s. Open these pictures:")
    for folder in folders:
        _path(out / "predictions" / folder.name / "storyboard.png")
    _path(run.folder / "evaluations" / "test" / "storyboards.png")
    console.print(f"Then try your own: vsr predict STORY_DIR --run {run.folder}", markup=False, soft_wrap=True)


def _path(path: Path) -> None:
    console.print(f"  {path}", markup=False, soft_wrap=True)


def _head(number: int, command: str, what: str) -> None:
    say("")
    console.print(styled("[bold]{}. {}[/bold]: {}", number, command, what))


def _next_run(out: Path) -> Path:
    number = 1
    while (out / "runs" / f"run-{number}").exists():
        number += 1
    return out / "runs" / f"run-{number}"


def write_examples(found: Registry, out: Path) -> list[Path]:
    """Write the first four frames of a few fresh stories as story folders, less the fifth, which is to be predicted."""
    from ..plugin.loading import build

    provided = found.find("dataset", "storyworld")
    options = provided.component.options(stories=EXAMPLES, seed=UNSEEN_SEED)  # type: ignore[call-arg]
    stories: Sequence[Story] = list(build(provided, options).read(None))
    folders = []
    for number, story in enumerate(stories, start=1):
        folder = out / f"story-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, frame in enumerate(story.frames[:4], start=1):
            assert isinstance(frame.image, bytes)
            assert frame.text
            (folder / f"{index:02d}.jpg").write_bytes(frame.image)
            (folder / f"{index:02d}.txt").write_text(frame.text + "\n", encoding="utf-8")
        folders.append(folder)
    return folders
