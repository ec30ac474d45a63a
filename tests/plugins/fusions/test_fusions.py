"""All fusions, and what is specific to some."""

import pytest
import torch

from vsr_cli.api import BuildContext, Options, VsrError
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.loading import build as build_component
from vsr_plugins.fusions import BilinearOptions, CrossAttentionOptions
from vsr_plugins.fusions.fusions import Bilinear, CrossAttention, Gated

OURS = sorted(
    entry.component.name
    for entry in registry().provided
    if entry.section == "fusion" and entry.component.build.startswith("vsr_plugins.")
)
BLIND_TO = {"image-only": "text", "text-only": "visual"}


def context(width=8):
    return BuildContext(width=width, steps=4, image_size=32, training_texts=list)


def fusion_of(name, *, width=8):
    torch.manual_seed(0)
    entry = registry().find("fusion", name)
    return build_component(entry, entry.component.options(), context(width)).eval()


def embeddings(batch=2, steps=4, width=8):
    return {"visual": torch.randn(batch, steps, width), "text": torch.randn(batch, steps, width)}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("half", ["visual", "text"])
def test_fusion_is_causal_and_reads_its_modalities(name, half):
    fusion, frames = fusion_of(name), embeddings()
    before = fusion(**frames)
    frames[half][:, 2:] += torch.randn(2, 2, 8)  # not a constant, which a norm takes out
    after = fusion(**frames)
    torch.testing.assert_close(after[:, :2], before[:, :2])
    assert torch.allclose(after, before) == (BLIND_TO.get(name) == half)


def test_gate_interpolates_between_image_and_text():
    fusion, frames = Gated(Options(), context()), embeddings()
    with torch.no_grad():
        fusion.gate.weight.zero_()
        fusion.gate.bias.fill_(50)  # all of the image
    torch.testing.assert_close(fusion(**frames), torch.tanh(fusion.visual(frames["visual"])))
    with torch.no_grad():
        fusion.gate.bias.fill_(-50)
    torch.testing.assert_close(fusion(**frames), torch.tanh(fusion.text(frames["text"])))


def test_bilinear_has_the_requested_rank():
    fusion, frames = Bilinear(BilinearOptions(rank=3), context()), embeddings()
    assert fusion.visual.weight.shape == (3, 8)
    with torch.no_grad():
        fusion.text.weight.zero_()
        fusion.text.bias.zero_()
    torch.testing.assert_close(fusion(**frames), fusion.join.bias.expand(2, 4, 8))


def test_cross_attention_reads_the_other_modality_of_earlier_frames():
    fusion, frames = CrossAttention(CrossAttentionOptions(heads=2), context()), embeddings()
    before = fusion(**frames)
    for half in frames:
        changed = {**frames, half: frames[half].clone()}
        changed[half][:, 0] += torch.randn(8)
        moved = (fusion(**changed) - before).abs().amax(dim=(0, 2))  # (K,)
        assert moved.min() > 1e-5


def test_heads_must_divide_the_width():
    with pytest.raises(VsrError, match=r"fusion\.heads=3 does not divide model\.width=16"):
        CrossAttention(CrossAttentionOptions(heads=3), context(16))
