"""The text decoder `vlm` in a whole run: what it reads, trains and stores."""

import json
import shutil

import pytest
from safetensors.torch import load_file

from vsr_cli.api import Decoding
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.run import FROZEN, WEIGHTS
from vsr_cli.workflows.evaluation import run_evaluate

from ...plugin_checks.small_vlms import MODELS


@pytest.mark.parametrize(("which", "trained"), [("idefics3", "none"), ("qwen2.5-vl", "lora")])
def test_a_run_trains_what_it_should_and_needs_only_its_folder(tmp_path, small_data, train_small, which, trained):
    model = MODELS[which](tmp_path / "model")
    run = train_small(
        tmp_path / "run",
        "text_decoder.name=vlm",
        f"text_decoder.model={model}",
        "text_decoder.prompt=Next?",
        "text_decoder.length=12",
        f"text_decoder.trained={trained}",
        "training.learning_rate=0.01",
        "training.epochs=3",
    )
    shutil.rmtree(model)
    rows = [json.loads(line) for line in run.history.read_text().splitlines()]
    text, image = ([row["validation"][name] for row in rows] for name in ("text", "image"))
    assert image[-1] < image[0]
    frozen, weights = load_file(run.folder / FROZEN), load_file(run.checkpoint("last") / WEIGHTS)
    of_text = [name for name in weights if name.startswith("text_decoder.")]
    assert any(name.startswith("text_decoder.model.") for name in frozen)
    if trained == "none":
        assert text[-1] == pytest.approx(text[0], rel=1e-6)  # the loss of a model that does not train
        assert not of_text
    else:
        assert text[-1] < 0.98 * text[0]
        assert of_text
        assert [name for name in of_text if "lora" not in name] == []
    loaded = load_model(run, registry())
    assert not any("lora" in name for name in loaded.state_dict())  # folded into the weights for prediction
    metrics = resolve_metrics(registry(), ["bleu"], [])
    how = {"decoding": Decoding(method="sample")}
    once, again = (run_evaluate(registry(), run, small_data, "test", metrics, **how) for _ in range(2))
    assert once == again
