import json

import pytest
import torch

from vsr_cli.api import Decoding, VsrError
from vsr_cli.cli.main import command_line
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.config.schema import LEAKS, FeatureOptions
from vsr_cli.data.prepared import open_prepared
from vsr_cli.evaluation.leaky_protocol import leaky_steps
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.results import open_evaluated
from vsr_cli.workflows.preparation import run_prepare
from vsr_cli.workflows.stories import prepare_config


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """Prepare twelve small stories with their tags, of which a third are the test."""
    made = ["dataset.stories=12", "dataset.width=96", "dataset.height=48", "data.image_size=32", "data.test=0.34"]
    config = prepare_config(
        registry(), dataset="storyworld", preset="tiny", flags={}, assignments=[*made, "data.markup=true"]
    )
    return run_prepare(config, None, tmp_path_factory.mktemp("data") / "marked").folder


@pytest.fixture(scope="module")
def run(marked, train_small, tmp_path_factory):
    return train_small(tmp_path_factory.mktemp("runs") / "run", "training.epochs=1", data=marked)


@pytest.fixture
def model(run):
    """Make the model sensitive to its context; one epoch would not."""
    model = load_model(run, registry())
    with torch.no_grad():
        for parameter in [*model.temporal.parameters(), *model.text_decoder.parameters()]:
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def steps_of(model, folder, *leaks):
    prepared = open_prepared(folder)
    return leaky_steps(
        model,
        prepared,
        "test",
        resolve_metrics(registry(), ["bleu", "rouge", "mrr-image"], []),
        leaks=leaks,
        decoding=Decoding(),
        device=torch.device("cpu"),
        feature_options=FeatureOptions(),
        training=prepared,
    )


@pytest.mark.parametrize(("words", "name"), [([], "test"), (["--set", "decoding.beams=2"], "test-beam-beams2")])
def test_leaks_are_closed_one_after_the_other_and_the_last_step_is_the_result(run, words, name, capsys):
    words = ["--decoding", "beam", *words] if words else words
    asked = ["evaluate", "--run", str(run.folder), "--metrics", "bleu,rouge", "--protocol", "leaky", "--json", *words]
    command_line()(asked, standalone_mode=False)
    record = json.loads(capsys.readouterr().out)
    assert record["result"] is False
    assert record["signature"].startswith("not-a-result|")
    assert [step["closed"] for step in record["steps"]] == [None, *LEAKS]
    assert [len(step["open"]) for step in record["steps"]] == [5, 4, 3, 2, 1, 0]
    held_out = record["held_out"]["metrics"]
    assert record["steps"][-1]["scores"] == {name: cell["value"] for name, cell in held_out.items()}
    # Kept where nobody takes it for a result.
    assert json.loads((run.folder / "evaluations" / f"{name}-leaky" / "leaky.json").read_text()) == record
    assert open_evaluated(run.folder, name).result == record["held_out"]
    with pytest.raises(VsrError, match=f"has no evaluation of the {name}-leaky split"):
        open_evaluated(run.folder, f"{name}-leaky")


def test_the_effect_of_each_leak_alone(model, marked):
    closed = steps_of(model, marked)[0]
    training = steps_of(model, marked, "training")[0]
    forced = steps_of(model, marked, "teacher-forcing")[0]
    cut = steps_of(model, marked, "cut")[0]
    markup = steps_of(model, marked, "markup")[0]
    assert training["windows"] == 10
    assert forced["example"]["reference"] == closed["example"]["reference"]
    assert forced["example"]["prediction"] != closed["example"]["prediction"]
    assert closed["example"]["reference"].startswith(cut["example"]["reference"].split("<")[0][:20])
    assert len(cut["example"]["reference"]) < len(closed["example"]["reference"])
    assert "< gdi image5 >" in markup["example"]["reference"]
    assert "gdi" not in closed["example"]["reference"]
    assert set(closed["scores"]) == {"bleu", "rouge"}  # rank compares no texts


def test_padding_puts_the_target_into_the_context(model, marked, monkeypatch):
    seen = []
    predict = model.predict
    monkeypatch.setattr(model, "predict", lambda context, decoding: seen.append(context) or predict(context, decoding))
    steps_of(model, marked, "padding")
    padded, as_it_is = (context.text_row for context in seen)
    targets = open_prepared(marked).windows("test").text_rows[:, 4]
    assert sorted(padded.tolist()) == sorted([row] * 4 for row in targets.tolist())
    assert len({*as_it_is[0].tolist()}) == 4


def test_teacher_forcing_needs_a_decoder_with_logits(model, marked):
    model.text_decoder = Untold(model.text_decoder)
    with pytest.raises(VsrError, match="cannot be teacher-forced"):
        steps_of(model, marked, "teacher-forcing")


class Untold(torch.nn.Module):
    """A decoder with only the required methods."""

    def __init__(self, decoder):
        super().__init__()
        self.tokenize, self.detokenize, self.generate = decoder.tokenize, decoder.detokenize, decoder.generate
