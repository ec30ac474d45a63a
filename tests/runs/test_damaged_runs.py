"""Damage in a run is noticed, in whatever file: one line that names the file, or the same result.

Files are damaged by single flipped bits, by cutting them and by removing them. The functions that the commands call are
called here, and only VsrError is caught: any other exception fails the test.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vsr_cli.cli.runs.verify import verify_run
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.errors import VsrError
from vsr_cli.files import checksums
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.opening import open_run, open_to_resume
from vsr_cli.runs.results import open_evaluated
from vsr_cli.runs.run import FROZEN, Run
from vsr_cli.runs.summary import evaluations, summarise
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.training import resume_train

from ..damage import damage

IGNORED = ("curves.png",)
"""Files that nothing reads."""


@pytest.fixture(scope="module")
def whole(train_small, small_data, tmp_path_factory) -> Run:
    run = train_small(tmp_path_factory.mktemp("runs") / "whole")
    run_evaluate(registry(), run, small_data, "test", resolve_metrics(registry(), ["bleu", "mse"], []))
    return run


def observed(run: Run) -> str:
    """Return a digest of all that the commands take from a run."""
    digest = hashlib.sha256()
    open_run(run.folder)
    opened = open_to_resume(run.folder)
    summary = summarise(run.folder)
    if not summary.is_readable:
        raise VsrError(str(summary.problem))
    run.verify("last")
    digest.update(repr((opened.config(), opened.facts(), summary, evaluations(run), run.weights_digest())).encode())
    for which in ("best", "last"):
        for name, tensor in sorted(load_model(run, registry(), which=which).state_dict().items()):
            digest.update(name.encode() + tensor.numpy().tobytes())
    evaluated = open_evaluated(run.folder, "test")
    digest.update(repr((evaluated.result, list(evaluated.predictions()), evaluated.history())).encode())
    for name, statistic in sorted(evaluated.statistics().items()):
        digest.update(name.encode() + statistic.tobytes())
    picture = evaluated.predicted_image(0)
    digest.update(picture.read_bytes() if picture else b"")
    for line in verify_run(run.folder).damaged:
        raise VsrError(line)
    return digest.hexdigest()


def outcome(run: Run) -> tuple[str | None, str | None]:
    """Return what is observed of a run, or the error that a user would be shown."""
    try:
        return observed(run), None
    except VsrError as error:
        return None, str(error)


def copied(run: Run, target: Path) -> Run:
    """Copy a run over an earlier copy."""
    shutil.rmtree(target, ignore_errors=True)
    return Run(Path(shutil.copytree(run.folder, target)))


def test_damage_in_any_file_is_one_line_that_names_it_or_changes_nothing(whole, tmp_path):
    target = tmp_path / "run"
    run = copied(whole, target)
    expected = observed(run)
    files = sorted(
        path.relative_to(target) for path in target.rglob("*") if path.is_file() and path.name not in IGNORED
    )
    assert {path.suffix for path in files} >= {".json", ".jsonl", ".safetensors"}
    assert {"assets", "checkpoints", "evaluations"} <= {path.parts[0] for path in files}
    random = np.random.default_rng(11)
    noticed = 0
    for number in range(200):
        name = files[number % len(files)]
        path = target / name
        whole_bytes = path.read_bytes()
        way = damage(path, random)
        checksums._known.clear()  # as a new process
        result, error = outcome(run)
        assert error is not None or result == expected, f"{name}: {way}: another result, and no error"
        if error is not None:
            noticed += 1
            assert len(error.splitlines()) == 1, f"{name}: {way}: {error}"
            gone = (way, name.name) == ("remove", "result.json")  # a folder without it is no evaluation
            assert (name.parent.name if gone else name.name) in error, f"{name}: {way}: {error}"
        path.write_bytes(whole_bytes)
    assert noticed > 160


def test_a_damaged_state_or_weight_stops_a_resumption_and_names_the_best_checkpoint(whole, tmp_path):
    run = copied(whole, tmp_path / "run")
    path = run.checkpoint("last") / "state.json"
    path.write_text(path.read_text().replace('"epochs_since_best": ', '"epochs_since_best": 1'))
    with pytest.raises(VsrError, match=r"state\.json: is damaged.*'vsr predict' read .*best"):
        resume_train(registry(), run.folder, data=None, epochs=9)


def test_a_history_shorter_than_at_its_checkpoint_is_refused(whole, tmp_path):
    run = copied(whole, tmp_path / "run")
    run.history.write_bytes(run.history.read_bytes()[:-40])
    run.update(status="interrupted", epochs_trained=0)
    with pytest.raises(VsrError, match=r"history\.jsonl: is damaged, it has"):
        resume_train(registry(), run.folder, data=None, epochs=3)


def test_a_frozen_weight_or_asset_without_its_checksum_is_refused(whole, tmp_path):
    run = copied(whole, tmp_path / "run")
    assert {name.partition("/")[0] for name in run.facts()["checksums"]} == {FROZEN, "assets"}
    run.update(checksums={})
    with pytest.raises(VsrError, match=r"run\.json: holds no checksums of the weights"):
        load_model(run, registry())


def test_a_file_is_verified_once_per_process(whole, monkeypatch):
    load_model(whole, registry())
    monkeypatch.setattr(checksums, "_digest", pytest.fail)
    assert isinstance(load_model(whole, registry()), torch.nn.Module)
