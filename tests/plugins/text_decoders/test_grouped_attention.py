"""Attention with shared key-value heads: PyTorch's own result, and a model that is saved as any other."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from vsr_plugins.text_decoders.grouped_attention import NAME, attention, share_heads

SIZES = {"vocab_size": 20, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 4}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", **SIZES, **HEADS)).eval()


def heads(shared):
    random = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, n, s, 4, generator=random) for n, s in ((6, 3), (shared, 5), (shared, 5)))
    mask = torch.rand(2, 1, 3, 5, generator=random) < 0.5
    mask[..., 0] = True
    return query, key, value, torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("shared", [1, 2, 3, 6])
@pytest.mark.parametrize("masked", [True, False])
def test_it_equals_attention_with_repeated_heads(shared, masked):
    query, key, value, mask = heads(shared)
    module = SimpleNamespace(num_key_value_groups=6 // shared, is_causal=False)
    given = {"scaling": 0.7, "dropout": 0.0}
    ours, _ = attention(module, query, key, value, mask if masked else None, **given)
    theirs, _ = sdpa_attention_forward(module, query, key, value, mask if masked else None, **given)
    torch.testing.assert_close(ours, theirs)


def test_keys_and_values_are_not_repeated_on_a_cpu(monkeypatch):
    monkeypatch.setattr("transformers.integrations.sdpa_attention.repeat_kv", None)
    query, key, value, mask = heads(2)
    module = SimpleNamespace(num_key_value_groups=3, is_causal=False)
    assert attention(module, query, key, value, mask)[0].shape == (2, 3, 6, 4)


def test_a_model_that_uses_it_has_its_scores_and_is_saved_as_any_other(model, tmp_path):
    ids, real = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]]), torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=real).logits
        share_heads(model)
        assert model.config._attn_implementation == NAME
        torch.testing.assert_close(model(input_ids=ids, attention_mask=real).logits[real > 0], before[real > 0])
    model.save_pretrained(tmp_path)
    assert NAME not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_a_model_with_attention_of_its_own_keeps_it(model):
    model.set_attn_implementation("eager")
    share_heads(model)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("llama", SIZES | HEADS | {"num_key_value_heads": 4}),
        ("falcon", {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}),
    ],
)
def test_a_model_whose_heads_share_nothing_is_left_alone(architecture, sizes, capsys):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes))
    share_heads(model)
    assert model.config._attn_implementation == "sdpa"
    assert capsys.readouterr().err == ""
