"""`vsr demo`: prepare, train, evaluate and predict on the embedded stories."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import out as console
from ..console import say, styled
from ..errors import VsrError
from ..files.atomic import is_empty
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..workflows.preparation import run_prepare
from ..workflows.settings import DEFAULT_METRICS, EMBEDDED, load_registry, metrics_of_dataset, train_config
from ..workflows.stories import prepare_config, unseen_stories
from .arguments import Out
from .parsing.commands import examples
from .predict import run_predict
from .prepare import show_prepared

if TYPE_CHECKING:
    from ..plugin.registry import Registry

EXAMPLES = 3
"""Stories written out for `vsr predict`."""
SETTINGS = ("image_decoder.name=tokens", "image_decoder.autoencoder=storyworld", "training.learning_rate=3e-3")
"""What differs from the preset. The autoencoder was trained on such stories beforehand; all else trains here."""


@examples("vsr demo", "vsr demo --out somewhere/")
def demo(out: Out = None) -> None:
    """Prepare, train, evaluate and predict on the embedded stories, in about three minutes on two CPU cores."""
    run_demo(load_registry(), out or Path("demo"))


def run_demo(registry: Registry, out: Path) -> None:
    """Prepare, train, evaluate and predict under `out`. Raises VsrError if something else is there already."""
    taken = f"--out {out}: exists and is not the folder of a demo; name another folder, since nothing is overwritten"
    if out.exists() and not out.is_dir():
        raise VsrError(taken)
    with exclusive_lock(
        out, busy=f"{out}: another process runs the demo in this folder; wait for it, or name another --out"
    ):
        if not is_empty(out) and not (out / "data").is_dir():
            raise VsrError(taken)
        refuse_links(out, ["data", "runs"], below=False)
        refuse_links(out, ["stories", "predictions"])
        _run(registry, out)


def _run(registry: Registry, out: Path) -> None:
    from ..config.experiment import resolve_metrics
    from ..data.prepared import open_prepared
    from ..workflows.evaluation import run_evaluate
    from ..workflows.training import run_train
    from .evaluate import show_result

    started = time.perf_counter()
    _head(1, "prepare", "stories that vsr generates")
    config = prepare_config(registry, dataset=EMBEDDED, preset="tiny", flags={}, assignments=[])
    data = out / "data"
    show_prepared(run_prepare(config, None, data))

    _head(2, "train", "all components from scratch, but for the codes of images")
    settings = train_config(
        registry, manifest=open_prepared(data).manifest, preset=None, config=None, flags={}, assignments=SETTINGS
    )
    run = run_train(settings, data, _next_run(out))

    _head(3, "evaluate", "on stories that the model has not seen, beside baselines")
    metrics = [*resolve_metrics(registry, DEFAULT_METRICS, []), *metrics_of_dataset(registry, data)]
    result = run_evaluate(registry, run, data, "test", metrics)
    show_result(result, run.folder / "evaluations" / "test")

    _head(4, "predict", "the fifth frame of stories in folders, as yours would be")
    folders = write_examples(registry, out / "stories")
    mistakes = run_predict(registry, run, folders, out / "predictions", decoding=settings.decoding, as_json=False)
    if mistakes:
        raise VsrError(*mistakes)
    console.print()
    console.print(f"done in {time.perf_counter() - started:.0f} s. Open these images:")
    for folder in folders:
        _path(out / "predictions" / folder.name / "storyboard.png")
    _path(run.folder / "evaluations" / "test" / "storyboards.png")
    console.print(
        f"Then try a story of your own: vsr predict STORY_DIR --run {run.folder}", markup=False, soft_wrap=True
    )


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


def write_examples(registry: Registry, out: Path) -> list[Path]:
    """Write the first four frames of a few unseen stories as story folders; the fifth is to be predicted."""
    folders = []
    for number, story in enumerate(unseen_stories(registry, EXAMPLES), start=1):
        folder = out / f"story-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        for index, frame in enumerate(story.frames[:4], start=1):
            assert isinstance(frame.image, bytes)
            assert frame.text
            (folder / f"{index:02d}.jpg").write_bytes(frame.image)
            (folder / f"{index:02d}.txt").write_text(frame.text + "\n", encoding="utf-8")
        folders.append(folder)
    return folders
