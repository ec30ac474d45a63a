"""Each text decoder trains on stories and is reloaded from its run."""

import json
import shutil

import pytest

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.evaluation import run_evaluate

from .decoders import write_language_model


@pytest.mark.parametrize("options", [
    ["attention-gru"],
    ["transformer", "text_decoder.layers=1"],
    ["pointer-generator", "objective.label_smoothing=0.1", "objective.unlikelihood=0.1"],
    ["lm", "text_decoder.rank=4", "text_decoder.image_tokens=1", "text_decoder.context_length=24"],
], ids=lambda options: options[0])  # fmt: skip
def test_decoder_trains_on_stories_and_reloads_from_the_run(tmp_path, small_data, train_small, options):
    name, *others = options
    if name == "lm":
        others.append(f"text_decoder.model={write_language_model(tmp_path / 'gpt2')}")
    settings = [f"text_decoder.name={name}", "text_decoder.length=12", *others]
    run = train_small(tmp_path / "run", *settings, "training.epochs=3", "training.learning_rate=0.01")
    losses = [json.loads(line)["train"]["text"] for line in run.history.read_text().splitlines()]
    assert losses[-1] < 0.9 * losses[0]
    shutil.rmtree(tmp_path / "gpt2", ignore_errors=True)

    metrics = resolve_metrics(registry(), ["bleu"], [])
    how = {"decoding": Decoding(method="sample")}
    assert run_evaluate(registry(), run, small_data, "test", metrics, **how) == run_evaluate(
        registry(), run, small_data, "test", metrics, **how
    )


@pytest.mark.parametrize("given", ["label_smoothing=0.1", "unlikelihood=0.5"])
def test_objective_that_a_decoder_ignores_is_one_line(tmp_path, train_small, given):
    decoder = "text_decoder.name=repeat-context"
    with pytest.raises(VsrError, match=r"^text decoder 'repeat-context': .*\.label_smoothing.*; set both to 0"):
        train_small(tmp_path / "run", decoder, "text_decoder.length=24", f"objective.{given}")
