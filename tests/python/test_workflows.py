"""`vsr.prepare`, `train`, `resume` and `evaluate`: the same folders and scores as the commands make."""

import json

import pytest

import vsr_cli as vsr
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import Run
from vsr_cli.workflows.evaluation import run_evaluate
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config

SMALL = {"dataset.stories": 10, "dataset.width": 96, "dataset.height": 48, "data.image_size": 32}


@pytest.fixture(scope="module")
def settings(small_settings):
    """Return the settings of a small training with the values of a program, not of a command line."""
    pairs = [setting.split("=") for setting in small_settings]
    return {path: int(value) if value.isdecimal() else value for path, value in pairs}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return vsr.prepare(out=tmp_path_factory.mktemp("data") / "small", settings=SMALL)


@pytest.fixture(scope="module")
def trained(data, settings, tmp_path_factory):
    return vsr.train(
        data, out=tmp_path_factory.mktemp("runs") / "one", temporal="lstm", device="cpu", settings=settings
    )


def test_prepared_data_is_what_the_command_prepares(data, tmp_path):
    assignments = [f"{path}={value}" for path, value in SMALL.items()]
    config = prepare_config(registry(), dataset="storyworld", preset="tiny", flags={}, assignments=assignments)
    assert open_prepared(data.folder).fingerprint == run_prepare(config, None, tmp_path / "data").fingerprint
    assert data.windows["train"] > data.windows["test"] > 0
    assert str(data.windows) in repr(data)


def test_a_trained_model_has_the_settings_that_were_given(trained, settings):
    assert trained.config["temporal"]["name"] == "lstm"
    assert trained.config["training"]["epochs"] == settings["training.epochs"]
    assert trained.run.name == "one"


def test_training_again_in_another_precision_and_resuming(data, settings, trained, tmp_path):
    again = vsr.train(data, out=tmp_path / "two", settings={**settings, "training.precision": "bf16"})
    assert Run(again.run).facts()["precision"] == "bf16"
    longer = vsr.resume(again.run, epochs=3, device="cpu")
    assert longer.config["training"]["epochs"] == 3
    assert Run(longer.run).facts()["precision"] == "bf16"


@pytest.fixture(scope="module")
def result(trained):
    return vsr.evaluate(trained, metrics=["bleu", "mse"])


def test_scores_are_those_of_the_command(trained, result):
    choices = resolve_metrics(registry(), ["bleu", "bleu-lower", "mse"], [])
    record = run_evaluate(registry(), Run(trained.run), open_prepared(trained.data).folder, "test", choices)
    assert result.scores == {name: cell["value"] for name, cell in record["metrics"].items()}
    assert json.loads((trained.run / "evaluations/test/result.json").read_text())["metrics"] == record["metrics"]


def test_a_result_is_a_table_in_every_form(result):
    assert "\\toprule" in result.to_latex()
    frame = result.to_pandas()
    assert list(frame.index) == ["bleu", "bleu-lower", "mse"]
    assert frame.loc["mse", "score"] == result.scores["mse"]
    assert frame.loc["mse", "copy-last"] == result.record["metrics"]["mse"]["baselines"]["copy-last"]["value"]
    assert all(name in result.table() for name in ("bleu-lower", "mse", "copy-last"))
    assert "<table" in result._repr_html_()
    assert "\\toprule" in result.to_latex()
    assert "| copy-last" in result.to_markdown()
    assert f"mse={result.scores['mse']:.4g}" in repr(result)


def test_another_decoding_and_options_of_metrics_are_recorded(trained):
    result = vsr.evaluate(trained, metrics=["bleu"], method="sample", seed=2, settings={"metrics.bleu.smooth": "floor"})
    assert result.record["decoding"]["seed"] == 2
    assert (trained.run / "evaluations/test-sample-seed2").is_dir()


def test_the_order_of_options_does_not_matter(trained):
    result = vsr.evaluate(trained, metrics=["mse"], settings={"decoding.beams": 2, "decoding.method": "beam"})
    assert (result.record["decoding"]["method"], result.record["decoding"]["beams"]) == ("beam", 2)
    assert vsr.evaluate(trained, metrics=["mse"], beams=2, method="beam").record == result.record


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda model: vsr.prepare("absent"), "absent: there is no such folder"),
        (lambda model: vsr.prepare(window="all"), "window='all'"),
        (lambda model: vsr.prepare(settings={"stories": 3}), "settings: 'stories' is not of the form section.key"),
        (lambda model: vsr.prepare(3), "source: not a path (got int)"),
        (lambda model: vsr.train(model.data, out=3), "out: not a path (got int)"),
        (lambda model: vsr.train(model.data, settings=["training.epochs=3"]), "settings: not a mapping (got list)"),
        (lambda model: vsr.resume(model.run, epochs="x"), "epochs: not a whole number (got 'x')"),
        (lambda model: vsr.evaluate(model, metrics=[None]), "metrics: not a list of names (got [None])"),
        (lambda model: vsr.evaluate(model, settings={"training.epochs": 3}), "this command does not use it"),
        (lambda model: vsr.evaluate(model, settings={3: 1}), "settings: 3 is not of the form section.key"),
        (lambda model: vsr.train("absent"), "absent: there is no such folder"),
        (lambda model: vsr.train(), "data: nothing is prepared under data/"),
        (lambda model: vsr.train(model.data, temporal="gruu"), "did you mean gru?"),
        (lambda model: vsr.train(model.data, epochs=0), "epochs=0"),
        (lambda model: vsr.train(model.data, settings={"training.epoch": 3}), "did you mean epochs?"),
        (lambda model: vsr.resume("absent"), "absent: there is no such folder"),
        (lambda model: vsr.evaluate("runs/one"), "model: not a model (got str)"),
        (lambda model: vsr.evaluate(model, metrics="bleu"), "metrics: not a list of names (got 'bleu')"),
        (lambda model: vsr.evaluate(model, metrics=["blue"]), "did you mean bleu?"),
        (lambda model: vsr.evaluate(model, data="absent"), "absent"),
        (lambda model: vsr.evaluate(vsr.load(model.run, checkpoint="last")), "the last checkpoint is loaded"),
    ],
)
def test_a_mistake_is_one_line(trained, tmp_path, monkeypatch, call, part):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(vsr.VsrError) as caught:
        call(trained)
    assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
