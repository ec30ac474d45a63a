"""All temporal models, and what is specific to some."""

import pytest
import torch

from vsr_cli.api import BuildContext, VsrError, last_real
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build as build_component
from vsr_plugins.temporal_models import SsmOptions, TcnOptions, TransformerOptions
from vsr_plugins.temporal_models.convolution import Tcn
from vsr_plugins.temporal_models.state_space import LinearRecurrence, Ssm
from vsr_plugins.temporal_models.transformer import Transformer

OURS = sorted(
    entry.component.name
    for entry in registry().provided
    if entry.section == "temporal" and entry.component.build.startswith("vsr_plugins.")
)
READ_REPEATS = {"gru", "lstm", "rnn"}
"""Those whose summary is the last step, real or not."""


def model_of(name, *, width=8, steps=4, **options):
    torch.manual_seed(0)
    entry = registry().find("temporal", name)
    context = BuildContext(width=width, steps=steps, image_size=32, training_texts=list)
    return build_component(entry, entry.component.options(**options), context).eval()


def all_real(batch, steps):
    return torch.ones(batch, steps, dtype=torch.bool)


@pytest.mark.parametrize("name", OURS)
def test_states_do_not_depend_on_later_frames(name):
    model, frames = model_of(name), torch.randn(2, 4, 8)
    states, summary = model(frames, all_real(2, 4))
    frames[:, 2:] += torch.randn(2, 2, 8)  # not a constant, which a norm takes out
    changed, changed_summary = model(frames, all_real(2, 4))
    torch.testing.assert_close(changed[:, :2], states[:, :2])
    assert not torch.allclose(changed[:, 2:], states[:, 2:], atol=1e-4)
    assert not torch.allclose(changed_summary, summary, atol=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_padding_frames_change_nothing(name):
    model, frames, mask = model_of(name), torch.randn(3, 4, 8), all_real(3, 4)
    mask[0, 1:] = False
    mask[1, 3:] = False
    states, summary = model(frames, mask)
    changed, changed_summary = model(torch.where(mask.unsqueeze(-1), frames, 7.0), mask)
    torch.testing.assert_close(changed[mask], states[mask])
    torch.testing.assert_close(changed_summary[2], summary[2])
    if name not in READ_REPEATS:
        torch.testing.assert_close(changed_summary, summary)
        torch.testing.assert_close(model(frames[:1, :1], all_real(1, 1))[1], summary[:1])


def test_last_real_is_the_state_before_padding():
    states = torch.arange(12.0).reshape(3, 4, 1).expand(3, 4, 2)
    mask = torch.tensor([[True, True, True, True], [True, False, False, False], [True, True, True, False]])
    assert last_real(states, mask).tolist() == [[3, 3], [4, 4], [10, 10]]


@pytest.mark.parametrize(("name", "forgets_order"), [("mean", True), ("gru", False), ("transformer", False)])
def test_frame_order_matters_except_for_mean(name, forgets_order):
    model, frames = model_of(name), torch.randn(3, 4, 8)
    shuffled = frames[:, [2, 0, 3, 1]]
    assert torch.allclose(model(shuffled, all_real(3, 4))[1], model(frames, all_real(3, 4))[1], atol=1e-6) == (
        forgets_order
    )


def test_last_ignores_earlier_frames():
    model, frames = model_of("last"), torch.randn(3, 4, 8)
    changed = torch.cat([torch.randn(3, 3, 8), frames[:, 3:]], dim=1)
    torch.testing.assert_close(model(changed, all_real(3, 4))[1], model(frames, all_real(3, 4))[1])


def test_attention_weights_only_real_states():
    model, frames, mask = model_of("attention-gru"), torch.randn(2, 4, 8), all_real(2, 4)
    mask[0, 2:] = False
    with torch.no_grad():
        model.query.weight.zero_()  # equal scores: the mean of the real states
    states, summary = model(frames, mask)
    means = torch.stack([states[0, :2].mean(0), states[1].mean(0)])
    last = torch.stack([states[0, 1], states[1, 3]])
    torch.testing.assert_close(summary, torch.tanh(model.join(torch.cat([means, last], dim=-1))))


@pytest.mark.parametrize(("blocks", "kernel", "reach"), [(1, 2, 2), (2, 2, 6), (1, 3, 4)])
def test_convolution_has_the_documented_receptive_field(blocks, kernel, reach):
    context = BuildContext(width=64, steps=10, image_size=32, training_texts=list)
    model = Tcn(TcnOptions(blocks=blocks, kernel=kernel), context).eval()
    frames = torch.randn(1, 10, 64, requires_grad=True)
    model(frames, all_real(1, 10))[1].sum().backward()
    seen = frames.grad[0].abs().sum(-1) > 0
    assert seen.tolist() == [False] * (9 - reach) + [True] * (reach + 1)


def test_state_space_recurrence_equals_its_equation():
    model, frames = LinearRecurrence(width=6, states=5), torch.randn(2, 4, 6)
    real, imaginary = model.read_in.weight.chunk(2)
    out_real, out_imaginary = model.read_out.weight.chunk(2, dim=1)
    into = torch.complex(real, imaginary) * model.log_scale.exp().unsqueeze(-1)  # γ B
    out_of = torch.complex(out_real, -out_imaginary)  # C
    factor = torch.exp(torch.complex(-model.log_rate.exp(), model.phase))  # λ
    assert factor.abs().max() < 1
    torch.testing.assert_close(model.log_scale.exp(), (1 - factor.abs() ** 2).sqrt())
    expected = model.skip * frames
    for k in range(4):
        for j in range(k + 1):
            state = factor ** (k - j) * (frames[:, j].to(into.dtype) @ into.T)
            expected[:, k] = expected[:, k] + (state @ out_of.T).real
    torch.testing.assert_close(model(frames), expected)


def test_state_space_dropout_and_sizes_are_options():
    context = BuildContext(width=8, steps=4, image_size=32, training_texts=list)
    model = Ssm(SsmOptions(layers=3, states=5, dropout=0.5), context)
    assert len(model.layers) == 3
    assert model.layers[0].recurrence.phase.shape == (5,)
    frames = torch.randn(2, 4, 8)
    assert not torch.equal(model(frames, all_real(2, 4))[1], model(frames, all_real(2, 4))[1])


def test_heads_must_divide_the_width():
    context = BuildContext(width=16, steps=4, image_size=32, training_texts=list)
    with pytest.raises(VsrError, match=r"temporal\.heads=3 does not divide model\.width=16"):
        Transformer(TransformerOptions(heads=3), context)
