import pytest
import torch
from pydantic import ValidationError

from vsr_cli.api import BuildContext, Options
from vsr_plugins.fusions.fusions import Concat
from vsr_plugins.temporal_models import RecurrentOptions
from vsr_plugins.temporal_models.recurrent import build_gru, build_lstm, build_rnn


def context(width: int, steps: int = 4) -> BuildContext:
    return BuildContext(width=width, steps=steps, image_size=64, training_texts=list)


@pytest.mark.parametrize("layers", [1, 2])
def test_dropout_is_active_in_training_only(layers, recwarn):
    model = build_gru(RecurrentOptions(layers=layers, dropout=0.5), context(16))
    assert not recwarn.list
    frames, mask = torch.randn(2, 4, 16), torch.ones(2, 4, dtype=torch.bool)
    assert not torch.equal(model(frames, mask)[1], model(frames, mask)[1])
    model.eval()
    assert torch.equal(model(frames, mask)[1], model(frames, mask)[1])


def test_each_name_builds_its_layer():
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
