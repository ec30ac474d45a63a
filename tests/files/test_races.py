"""Two commands on one folder: one completes, the other is refused in one line."""

import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from vsr_cli.ablation.plan import Ablation, Combination, Plan
from vsr_cli.api import Decoding
from vsr_cli.cli.demo import run_demo
from vsr_cli.cli.predict import run_predict
from vsr_cli.data.cache import extraction
from vsr_cli.data.cache import maintenance as cache_care
from vsr_cli.data.cache.maintenance import prune, remove_damaged
from vsr_cli.data.prepared import open_prepared
from vsr_cli.errors import VsrError
from vsr_cli.files import locks
from vsr_cli.files.locks import exclusive_lock
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs import opening
from vsr_cli.runs.opening import created_run
from vsr_cli.runs.run import Run
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.preparation import run_prepare, run_shard
from vsr_cli.workflows.stories import prepare_config
from vsr_cli.workflows.training import resume_train

from ..folders import contents


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Wait for nobody: whoever holds a lock here holds it until the end."""
    lock = locks._lock
    monkeypatch.setattr(locks, "_lock", lambda folder, kind, **given: lock(folder, kind, **given | {"patience": 0}))


@contextmanager
def another_in(folder):
    """Be another process that writes to a folder, and see that nothing of what it has written changes."""
    with exclusive_lock(folder, busy="the test is the first"):
        before = contents(folder)
        yield
        assert contents(folder) == before


def few(stories, *, window="sliding"):
    assignments = [f"dataset.stories={stories}", "dataset.width=96", "dataset.height=48", "data.image_size=32"]
    flags = {"data.window": window}
    return prepare_config(registry(), dataset="storyworld", preset="tiny", flags=flags, assignments=assignments)


@pytest.mark.parametrize("name", ["data", "new"])
def test_concurrent_prepare_is_refused(small_data, tmp_path, name):
    shutil.copytree(small_data, tmp_path / "data")
    folder = tmp_path / name
    with another_in(folder):
        with pytest.raises(VsrError, match="another process is preparing data there"):
            run_prepare(few(5), None, folder)
        with pytest.raises(VsrError, match="another process is preparing data there"):
            run_shard(few(5), None, folder, "1/2")


def test_shards_of_one_folder_are_prepared_concurrently(tmp_path):
    with locks.shared_lock(tmp_path / "out", busy="the test makes the other share"):
        run_shard(few(5), None, tmp_path / "out", "1/2")
        with pytest.raises(VsrError, match="another process is preparing data there"):
            run_prepare(few(5), None, tmp_path / "out")
    assert run_prepare(few(5), None, tmp_path / "out").manifest["status"] == "finished"


def test_opened_data_stays_readable(small_data, tmp_path):
    shutil.copytree(small_data, tmp_path / "data")
    reader = open_prepared(tmp_path / "data")
    assert run_prepare(few(4), None, tmp_path / "data").fingerprint != reader.fingerprint
    windows = reader.windows("train")
    assert len(reader.frames.images.gather(windows.image_rows)) == len(windows)
    del reader, windows
    run_prepare(few(4), None, tmp_path / "data")
    once = run_prepare(few(4), None, tmp_path / "once")
    assert contents(tmp_path / "data").keys() == contents(once.folder).keys()


def test_replaced_data_is_noticed(tmp_path, monkeypatch):
    from vsr_cli.workflows import preparation

    read = preparation.read_stories

    def overtaken(config, *arguments, **options):
        made = read(config, *arguments, **options)
        monkeypatch.setattr(preparation, "read_stories", read)
        run_prepare(few(4), None, tmp_path / "out")
        return made

    monkeypatch.setattr(preparation, "read_stories", overtaken)
    with pytest.raises(VsrError, match="another process has prepared other data there"):
        run_prepare(few(5), None, tmp_path / "out")
    assert open_prepared(tmp_path / "out").manifest["counts"]["stories_read"] == 4


def test_concurrent_training_in_a_folder_is_refused(train_small, tmp_path):
    made = train_small(tmp_path / "run", "training.epochs=1")
    with another_in(made.folder):
        with pytest.raises(VsrError, match="another process is training this run"):
            train_small(made.folder, "model.width=24")
        with pytest.raises(VsrError, match="another process is training this run"):
            resume_train(registry(), made.folder, data=None, epochs=2)
    with pytest.raises(VsrError, match="nothing is overwritten"):
        train_small(made.folder, "model.width=24")
    with another_in(tmp_path / "new"), pytest.raises(VsrError, match="another process is training this run"):
        train_small(tmp_path / "new")


def test_trainings_of_one_second_have_distinct_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [opening._make_folder("2026-01-01_00-00-00_gru").name for _ in range(3)]
    assert names == ["2026-01-01_00-00-00_gru", "2026-01-01_00-00-00_gru_2", "2026-01-01_00-00-00_gru_3"]


def test_run_is_locked_before_it_is_read(tmp_path, monkeypatch):
    """Another process makes its run between the two: it must be seen."""
    is_free = opening._is_free
    seen = []
    monkeypatch.setattr(opening, "_is_free", lambda folder: seen.append(locks.is_held(folder)) or is_free(folder))
    config = {"temporal": {"name": "gru"}, "training": {"seed": 0}}
    with created_run(tmp_path / "run", config=config, data=tmp_path, distributions={}):
        assert seen == [True]


@pytest.fixture(scope="module")
def trained(train_small, tmp_path_factory) -> Run:
    return train_small(tmp_path_factory.mktemp("raced") / "run", "training.epochs=1")


def test_concurrent_evaluation_is_refused(trained, small_data):
    folder = trained.folder / "evaluations" / "test"
    with another_in(folder), pytest.raises(VsrError, match="another process is writing this evaluation"):
        run_evaluate(registry(), trained, small_data, "test", [])
    assert not folder.exists()


def test_concurrent_predictions_are_not_mixed(trained, tmp_path, monkeypatch):
    from PIL import Image

    for story in ("one", "other"):
        (tmp_path / story).mkdir()
        for number in range(1, 5):
            Image.new("RGB", (8, 8)).save(tmp_path / story / f"{number}.jpg")
            (tmp_path / story / f"{number}.txt").write_text("A text.")
    out = tmp_path / "out"
    with another_in(out / "one"):
        (line,) = run_predict(
            registry(), trained, [tmp_path / "one", tmp_path / "other"], out, decoding=Decoding(), as_json=True
        )
    assert "another process is writing a prediction there" in line
    assert {path.name for path in (out / "other").iterdir()} == {"image.png", "storyboard.png", "prediction.json"}


def test_interrupted_prediction_has_no_record(trained, tmp_path, monkeypatch):
    """prediction.json says that the images beside it are those of its text."""
    from vsr_cli.inference import predict as prediction

    folder = tmp_path / "out" / "one"
    folder.mkdir(parents=True)
    (folder / "prediction.json").write_text("{}")

    def killed(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(prediction, "save_image", killed)
    frame = prediction.ContextFrame(1, prediction.Image.new("RGB", (8, 8)), None, "A text.", None)
    image = prediction.Image.new("RGB", (8, 8))
    predicted = prediction.NextFrame("one", (frame,), "A text.", image, "stretch")
    with pytest.raises(ZeroDivisionError):
        prediction.write_prediction(predicted, folder, run=tmp_path, decoding=Decoding())
    assert not (folder / "prediction.json").exists()


def test_concurrent_ablation_is_refused(tmp_path):
    plan = Plan(
        combinations=[Combination("as given", {})],
        cells=[],
        fingerprint="0",
        split="test",
        metrics=[],
        metric_settings=[],
    )
    first = Ablation(tmp_path / "ablation")
    with first.alone():
        first.begin(plan, tmp_path)
        with pytest.raises(VsrError, match="another process runs this ablation"), Ablation(first.folder).alone():
            raise AssertionError("two at once")
    (tmp_path / "ablation" / "runs" / "x").symlink_to(tmp_path)
    with pytest.raises(VsrError, match="x: is a link"), first.alone():
        raise AssertionError("it went on")


def test_concurrent_demo_is_refused(tmp_path):
    with another_in(tmp_path / "demo"), pytest.raises(VsrError, match="another process runs the demo in this folder"):
        run_demo(registry(), tmp_path / "demo")


CPU = torch.device("cpu")


def ones(rows, advance):
    return np.ones((len(rows), 3), np.float32), None


def requested(count=4):
    """Images of three numbers each."""
    rows = np.arange(count)
    digests = np.arange(16 * count, dtype=np.uint8).reshape(count, 16)
    return extraction.FeatureRequest("visual", "key", rows, digests, 4, torch.nn.Identity(), CPU, ones)


OPTIONS = extraction.FeatureOptions()


def test_feature_set_in_use_is_not_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    wanted = requested()
    assert extraction.load_or_compute(wanted, OPTIONS) is not None
    with wanted.in_use(OPTIONS):
        (kept,) = cache_care.list_feature_sets()
        pruned = prune(unused_days=None, to_bytes=0)
        assert (pruned.removed, [each.name for each in pruned.in_use]) == ([], [kept.name])
        assert remove_damaged(kept) is None
        assert kept.folder.is_dir()
    assert [each.name for each in prune(unused_days=None, to_bytes=0).removed] == [kept.name]
    assert cache_care.list_feature_sets() == []


def test_features_removed_meanwhile_are_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    wanted = requested()
    rows = extraction.load_or_compute(wanted, OPTIONS)
    announce = extraction._announce
    folder = next((tmp_path / "features").iterdir())

    def removed_meanwhile(*arguments):
        for path in folder.glob("*.safetensors"):
            path.unlink()
        return announce(*arguments)

    few_of_them = requested(2)
    prune(unused_days=None, to_bytes=0)
    extraction.load_or_compute(few_of_them, OPTIONS)
    monkeypatch.setattr(extraction, "_announce", removed_meanwhile)
    again = extraction.load_or_compute(wanted, OPTIONS)
    assert (again.gather(wanted.rows) == rows.gather(wanted.rows)).all()


def test_opened_features_stay_readable_after_removal(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    rows = extraction.load_or_compute(requested(), OPTIONS)
    prune(unused_days=None, to_bytes=0)
    assert (rows.gather(requested().rows) == 1).all()


def test_partial_shard_is_ignored(tmp_path, monkeypatch):
    """As a kill left it, of this version and of the one before."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    extraction.load_or_compute(requested(), OPTIONS)
    folder = next((tmp_path / "features").iterdir())
    (folder / ".0123.safetensors.k1ll3d_x.safetensors").touch()
    (folder / ".0123.safetensors.k1ll3d_x.vsr-tmp").mkdir()
    (folder / ".0123.safetensors.k1ll3d_x.vsr-tmp" / "0123.safetensors").touch()
    assert extraction.load_or_compute(requested(), OPTIONS) is not None
    (kept,) = cache_care.list_feature_sets()
    assert (kept.shards, list(cache_care.verify(kept))) == (1, [])
    assert remove_damaged(kept) == 0
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_using_a_feature_set_creates_no_file(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path))
    extraction.load_or_compute(requested(), OPTIONS)
    folder = next((tmp_path / "features").iterdir())
    known = extraction.FeatureSet.known(folder, "single")
    (folder / "about.json").unlink()
    known.find(requested().digests)
    assert not (folder / "about.json").exists()


def test_run_with_only_a_configuration_starts_again(tmp_path, monkeypatch):
    """By a full disk, or a kill between the two files: `train --resume` has nothing to go on with."""
    folder, config = tmp_path / "run", {"training": {"seed": 0}, "temporal": {"name": "gru"}}
    write = opening.write_json

    def full(path, value):
        if path.name == "run.json":
            raise OSError(28, "No space left on device", str(path))
        write(path, value)

    monkeypatch.setattr(opening, "write_json", full)
    with pytest.raises(OSError, match="No space"), created_run(folder, config=config, data=tmp_path, distributions={}):
        pass
    assert [path.name for path in folder.iterdir() if not path.name.startswith(".")] == ["config.json"]
    monkeypatch.setattr(opening, "write_json", write)
    with created_run(folder, config=config, data=tmp_path, distributions={}) as begun:
        assert begun.facts()["status"] == "running"


def test_other_configuration_is_not_overwritten(tmp_path):
    (tmp_path / "config.json").write_text('{"mine": 1}')
    with (
        pytest.raises(VsrError, match="not an empty folder"),
        created_run(tmp_path, config={"training": {"seed": 0}}, data=tmp_path, distributions={}),
    ):
        pass
    assert (tmp_path / "config.json").read_text() == '{"mine": 1}'
