import pytest
import torch
from pydantic import ValidationError

from vsr_cli.api import BuildContext, Options
from vsr_plugins.fusions.fusions import Concat
from vsr_plugins.temporal_models import RecurrentOptions
from vsr_plugins.temporal_models.recurrent import build_gru, build_lstm, build_rnn


def context(width: int, steps: int = 4) -> BuildContext:
    return BuildContext(width=width, steps=steps, image_size=64, training_texts=list)


@pytest.mark.parametrize("build", [build_gru, build_lstm, build_rnn])
@pytest.mark.parametrize(("batch", "steps", "width", "layers"), [(1, 1, 8, 1), (3, 4, 16, 2), (2, 7, 5, 1)])
def test_shapes_and_summary(build, batch, steps, width, layers):
    model = build(RecurrentOptions(layers=layers), context(width, steps))
    states, summary = model(torch.randn(batch, steps, width), torch.ones(batch, steps, dtype=torch.bool))
    assert states.shape == (batch, steps, width)
    assert torch.equal(summary, states[:, -1])


@pytest.mark.parametrize("build", [build_gru, build_lstm, build_rnn])
def test_a_state_depends_on_the_frames_up_to_it_and_on_no_later_one(build):
    model = build(RecurrentOptions(layers=2), context(8))
    frames, mask = torch.randn(2, 4, 8), torch.ones(2, 4, dtype=torch.bool)
    states, summary = model(frames, mask)
    changed = frames.clone()
    changed[:, 2] += 1
    other, other_summary = model(changed, mask)
    torch.testing.assert_close(other[:, :2], states[:, :2])
    assert (other[:, 2:] - states[:, 2:]).abs().amax(dim=(0, 2)).min() > 1e-4
    assert not torch.allclose(other_summary, summary)


@pytest.mark.parametrize("build", [build_gru, build_lstm, build_rnn])
def test_gradients_reach_every_parameter(build):
    model = build(RecurrentOptions(layers=2, dropout=0.1), context(8))
    model(torch.randn(3, 4, 8), torch.ones(3, 4, dtype=torch.bool))[1].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_acts_in_training_alone(layers, recwarn):
    model = build_gru(RecurrentOptions(layers=layers, dropout=0.5), context(16))
    assert not recwarn.list
    frames, mask = torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.bool)
    assert not torch.equal(model(frames, mask)[1], model(frames, mask)[1])
    model.eval()
    assert torch.equal(model(frames, mask)[1], model(frames, mask)[1])


def test_the_kinds_are_what_they_say():
    assert isinstance(build_gru(RecurrentOptions(), context(4)).recurrent, torch.nn.GRU)
    assert isinstance(build_lstm(RecurrentOptions(), context(4)).recurrent, torch.nn.LSTM)
    assert isinstance(build_rnn(RecurrentOptions(), context(4)).recurrent, torch.nn.RNN)


@pytest.mark.parametrize("bad", [{"layers": 0}, {"dropout": 1.0}, {"depth": 2}])
def test_bad_options_are_refused(bad):
    with pytest.raises(ValidationError):
        RecurrentOptions(**bad)


def test_concat_is_linear_in_both_embeddings():
    fusion = Concat(Options(), context(6))
    visual, text = torch.randn(2, 4, 6), torch.randn(2, 4, 6)
    weight = fusion.linear.weight
    expected = visual @ weight[:, :6].T + text @ weight[:, 6:].T + fusion.linear.bias
    torch.testing.assert_close(fusion(visual, text), expected)
    assert fusion(visual, text).shape == (2, 4, 6)
