"""Attention to shared contexts and heads: the result of copies of them, and a model that is saved as any other."""

import json
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from vsr_plugins.text_decoders.shared_attention import CONTEXT, NAME, Places, SharedContext, attention, share

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
        share(model)
        assert model.config._attn_implementation == NAME
        torch.testing.assert_close(model(input_ids=ids, attention_mask=real).logits[real > 0], before[real > 0])
    model.save_pretrained(tmp_path)
    assert NAME not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config._attn_implementation == "sdpa"


def test_a_model_with_attention_of_its_own_keeps_it(model):
    model.set_attn_implementation("eager")
    share(model)
    assert model.config._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [("falcon", {"vocab_size": 20, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4})],
)
def test_a_model_whose_attention_cannot_be_chosen_is_left_alone(architecture, sizes, capsys):
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(architecture, **sizes))
    share(model)
    assert model.config._attn_implementation == "sdpa"
    assert capsys.readouterr().err == ""


STORY = torch.tensor([0, 0, 0, 1, 2, 2])


def texts_of_three_contexts(counts=STORY):
    """Return what `attention` gets for texts of contexts (L = 4, the first of 3 positions) with two own tokens."""
    random = torch.Generator().manual_seed(1)
    _, context, count = torch.unique_consecutive(counts, return_inverse=True, return_counts=True)
    number, texts = len(count), len(counts)
    query = torch.randn(texts, 6, 1, 5, generator=random)
    key, value = torch.randn(texts, 2, 2, 5, generator=random), torch.randn(texts, 2, 2, 3, generator=random)
    keys, values = torch.randn(number, 2, 4, 5, generator=random), torch.randn(number, 2, 4, 3, generator=random)
    mask = torch.zeros(number, 1, 1, 6)
    mask[0, ..., 0] = torch.finfo(torch.float32).min
    shared = SharedContext(keys, values, Places.of(context, count), value)
    return query, key, value, mask[context], shared


@pytest.mark.parametrize("counts", [STORY, STORY[:1], STORY[[0, 0, 3, 3]]], ids=["uneven", "one", "alike"])
@pytest.mark.parametrize("scaling", [None, 0.7])
def test_texts_attend_to_their_context_as_to_a_copy_of_it(counts, scaling):
    query, key, value, mask, shared = texts_of_three_contexts(counts)
    context = shared.places.context
    module = SimpleNamespace(num_key_value_groups=3, is_causal=False)
    copied = torch.cat([shared.keys[context], key], 2), torch.cat([shared.values[context], value], 2)
    wanted, _ = sdpa_attention_forward(module, query, *copied, mask, scaling=scaling)
    setattr(key, CONTEXT, shared)
    found, _ = attention(module, query, key, value, mask, scaling=scaling)
    assert found.shape == (len(counts), 1, 6, 3)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("what", ["softcap", "values", "mask"])
def test_a_context_that_cannot_be_shared_is_an_error_and_no_other_score(what):
    query, key, value, mask, shared = texts_of_three_contexts()
    setattr(key, CONTEXT, shared)
    options = {"softcap": 30.0} if what == "softcap" else {}
    given = value.clone() if what == "values" else value, None if what == "mask" else mask
    with pytest.raises(ValueError, match="cannot be shared"):
        attention(SimpleNamespace(), query, key, *given, **options)
