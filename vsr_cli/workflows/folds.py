"""`vsr evaluate --folds N`: cross-validation; every story is held out once, and all predictions are scored as one.

    runs/folds-5-0a1b2c3d/
        folds.json        which story is in which fold, and what was asked for
        config.json       the settings that every fold is trained with
        data/fold-1 …     the same stories with one fold as the test; data/all has every story in the test
        fold-1 …          a run each, trained on the other folds
        evaluations/test  the pooled evaluation, as a run's

The same command resumes where it was stopped: folds that are trained are not trained again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..api import Decoding
from ..config.experiment import TrainConfig
from ..config.resolve import Choice
from ..config.schema import DataOptions, FeatureOptions
from ..console import say
from ..errors import VsrError
from ..files.atomic import read_json, remove, write_json
from ..files.links import refuse_links
from ..files.locks import exclusive_lock
from ..files.strict_json import to_json
from ..plugin.registry import Registry
from ..quantities import counted
from ..runs.results import lock_evaluation
from ..runs.run import FOLDS, RUNS, Run, now
from .evaluation import draw_shown, evaluation_folder, load_checked, warn_of_lasting
from .training import data_facts, provide_parts, resume_train, run_train

if TYPE_CHECKING:
    from ..data.prepared import Prepared

FORMAT = 1
OWNED = (FOLDS, "config.json", "data", "fold-*", "evaluations")
"""What vsr writes in the folder of a cross-validation."""
HELD_OUT = "test"
"""The split that each fold is in its own data, and all stories in the pooled data."""


def run_folds(
    registry: Registry,
    config: TrainConfig,
    data: Path,
    folds: int,
    metrics: Sequence[Choice],
    *,
    decoding: Decoding,
    out: Path | None,
) -> tuple[Path, dict[str, Any]]:
    """Train a model for each fold, score what all of them predict together, and store it.

    Returns the folder and the result. Raises VsrError if there are too few stories, if `out` holds something else, or
    if another process is at work there.
    """
    from ..data.prepared import open_prepared
    from ..data.resplit import assign_folds, groups_of, resplit, splits_of_fold

    provide_parts(config)
    prepared = open_prepared(data)
    groups = groups_of(prepared)
    options = DataOptions.model_validate(prepared.manifest["data"])
    fold = assign_folds(groups, folds, seed=options.seed)
    asked = {"folds": folds, "data": prepared.fingerprint, "config": config.record()}
    folder = out or RUNS / f"folds-{folds}-{hashlib.sha256(to_json(asked, sort_keys=True).encode()).hexdigest()[:8]}"
    with exclusive_lock(folder, busy=f"{folder}: another process works in this folder; wait for it, or stop it first"):
        refuse_links(folder, OWNED, below=False)
        _begin(folder, asked, {story: number + 1 for story, number in fold.items()}, data=data)
        pooled = resplit(prepared, dict.fromkeys(groups, "test"), folder / "data" / "all")
        write_json(folder / "config.json", config.record() | {"data": data_facts(pooled.manifest)})
        runs = []
        for held_out in range(folds):
            name = f"fold-{held_out + 1}"
            splits = splits_of_fold(groups, fold, held_out=held_out, options=options)
            own = resplit(prepared, splits, folder / "data" / name)
            tested = sum(split == "test" for split in splits.values())
            say(f"fold {held_out + 1} of {folds}: {counted(tested, 'story')} held out")
            runs.append(_train_fold(registry, config, own.folder, folder / name))
        place = evaluation_folder(folder, HELD_OUT, decoding, own=config.decoding)
        return folder, _evaluate(registry, runs, pooled, folder, place, metrics, decoding=decoding)


def _begin(folder: Path, asked: Mapping[str, Any], fold: Mapping[str, int], *, data: Path) -> None:
    """Record the settings, or check that they are those that the folder was begun with."""
    path = folder / FOLDS
    if not path.exists():
        if any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise VsrError(
                f"--out {folder}: exists and is not empty; name another folder, since nothing is overwritten"
            )
        write_json(
            path, {"format": FORMAT, "started": now(), "source": str(data.resolve()), **asked, "stories": dict(fold)}
        )
        return
    there = read_json(path, what="the folds of 'vsr evaluate --folds'")
    if not isinstance(there, dict) or there.get("format") != FORMAT:
        raise VsrError(f"{folder}: was begun by another version of vsr; name another --out, or remove it")
    different = [name for name in asked if there.get(name) != asked[name]]
    if different:
        raise VsrError(
            f"{folder}: was begun with other {', '.join(different)}; resume with the same options, or name "
            "another --out"
        )


def _train_fold(registry: Registry, config: TrainConfig, data: Path, folder: Path) -> Run:
    """Train the model of one fold, or resume its training."""
    if not (folder / "run.json").exists():
        if folder.exists():
            remove(folder)  # its process was killed before it wrote run.json
        return run_train(config, data, folder)
    run = Run(folder)
    if run.facts()["status"] == "finished":
        say(f"{folder} is trained already")
        return run
    return resume_train(registry, folder, data=data, epochs=None)


def _evaluate(
    registry: Registry,
    runs: Sequence[Run],
    pooled: Prepared,
    folder: Path,
    place: Path,
    metrics: Sequence[Choice],
    *,
    decoding: Decoding,
) -> dict[str, Any]:
    """Score what the runs predict, each of its own fold, as one, and store it as the evaluation of a run is stored."""
    from ..data.prepared import open_prepared
    from ..evaluation.evaluate import evaluate
    from ..evaluation.model_predictions import Part
    from ..evaluation.storage import store_evaluation
    from ..model.weights import choose_device

    digests = [run.weights_digest() for run in runs]
    parts = []
    for run, digest in zip(runs, digests, strict=True):
        own = open_prepared(Path(run.facts()["data"]))
        parts.append(Part(own, own, partial(load_checked, registry, run, digest)))
    with lock_evaluation(place):
        evaluation = evaluate(
            parts,
            pooled,
            HELD_OUT,
            metrics,
            decoding=decoding,
            device=choose_device("auto"),
            feature_options=FeatureOptions(**runs[0].config()["features"]),
            checkpoint=hashlib.sha256(" ".join(digests).encode()).hexdigest()[: len(digests[0])],
        )
        result = {"run": str(folder), "data": str(pooled.folder), "folds": len(runs), **evaluation.result}
        stored = store_evaluation(place, evaluation, result, draw=partial(draw_shown, pooled, evaluation))
    warn_of_lasting(evaluation.result, stored)
    return stored
