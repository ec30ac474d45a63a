"""Windows, pooling and layers of pretrained text encoders."""

import json
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    AutoModel,
    BertConfig,
    BertModel,
    CLIPConfig,
    CLIPModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    SiglipConfig,
    SiglipModel,
)

from vsr_cli.api import BuildContext, VsrError
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_plugins.text_encoders import HfTextOptions
from vsr_plugins.text_encoders.pretrained import build
from vsr_plugins.text_encoders.pretrained_reading import in_windows

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WINDOW = 12
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT = {**SIZES, "vocab_size": 29, "max_position_embeddings": WINDOW}
VISION = {**SIZES, "image_size": 16, "patch_size": 8}
SPECIAL = {
    "bert": {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "roberta": {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>"},
    "clip": {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
    "siglip": {"eos_token": "</s>", "pad_token": "</s>"},
}
"""The special tokens of each kind, in the order of their ids; one that serves twice has one id."""


def make_model(kind):
    torch.manual_seed(1)
    ids = {token: index for index, token in enumerate(dict.fromkeys(SPECIAL[kind].values()))}
    named = {f"{name}_id": ids[token] for name, token in SPECIAL[kind].items()}
    if kind == "bert":
        return BertModel(BertConfig(**TEXT)).eval()
    if kind == "roberta":
        sizes = {**TEXT, "max_position_embeddings": WINDOW + 2}
        return RobertaModel(RobertaConfig(**sizes, pad_token_id=1, bos_token_id=0, eos_token_id=2)).eval()
    if kind == "clip":
        return CLIPModel(CLIPConfig(text_config={**TEXT, **named}, vision_config=VISION)).eval()
    return SiglipModel(SiglipConfig(text_config={**TEXT, **named}, vision_config=VISION)).eval()


def tokenizer_of(kind):
    """A tokenizer of letters: how many tokens a text has is how long it is."""
    special = list(dict.fromkeys(SPECIAL[kind].values()))
    known = {token: index for index, token in enumerate([*special, *LETTERS])}
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="z"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.add_special_tokens(special)
    return tokenizer


def save(folder: Path, kind) -> str:
    make_model(kind).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer_of(kind), **SPECIAL[kind]).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: save(tmp_path_factory.mktemp(kind), kind) for kind in SPECIAL}


def context(width=8, assets=None) -> BuildContext:
    return BuildContext(width=width, steps=4, image_size=16, training_texts=list, assets=assets)


def encoder(folder, assets=None, **options):
    torch.manual_seed(0)
    # The library takes a tokenizer of SigLIP's for one that is not made of tokenizer.json: so the file is named.
    chosen = {"length": 60, "tokenizer": str(Path(folder, "tokenizer.json")), **options}
    return build(HfTextOptions(model=folder, **chosen), context(assets=assets)).eval()


def frozen(model, texts):
    batch = model.tokenize(texts)
    return model.frozen(torch.from_numpy(batch.ids), torch.from_numpy(batch.mask))


def by_the_library(kind, letters):
    """The pooled state of one window's letters, by the library's own model and its own ways."""
    tokenizer, model = tokenizer_of(kind), make_model(kind)
    ids = tokenizer.encode(letters, add_special_tokens=False).ids
    name = SPECIAL[kind]
    first = [tokenizer.token_to_id(name.get("cls_token") or name.get("bos_token"))] if kind != "siglip" else []
    last = tokenizer.token_to_id(name.get("sep_token") or name.get("eos_token"))
    window = torch.tensor([[*first, *ids, last]])
    with torch.no_grad():
        if kind == "siglip":
            padded = torch.nn.functional.pad(window, (0, WINDOW - window.shape[1]), value=last)
            return model.text_model(padded).last_hidden_state[:, -1]
        if kind == "clip":
            return model.text_model(window).pooler_output
        return model(window).last_hidden_state.mean(1)


@pytest.mark.parametrize(
    ("count", "room", "sizes"), [(0, 5, [0]), (5, 5, [5]), (6, 5, [3, 3]), (11, 5, [3, 4, 4]), (10, 5, [5, 5])]
)
def test_windows_are_even_and_partition_the_tokens(count, room, sizes):
    windows = in_windows(range(count), room=room)
    assert [len(window) for window in windows] == sizes
    assert [token for window in windows for token in window] == list(range(count))


@pytest.mark.parametrize("kind", SPECIAL)
def test_text_of_one_window_equals_the_library_s(folders, kind):
    model = encoder(folders[kind])
    texts = ["mara", "a", "openthebox"]
    expected = torch.cat([by_the_library(kind, text) for text in texts])
    torch.testing.assert_close(frozen(model, texts), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SPECIAL)
def test_long_text_is_the_token_weighted_mean_of_its_windows(folders, kind):
    model = encoder(folders[kind])
    room = WINDOW - (1 if kind == "siglip" else 2)
    letters = (LETTERS * 2)[: 2 * room + (1 if kind == "siglip" else 2)]  # three windows, not all of one size
    parts = ["".join(part) for part in in_windows(letters, room=room)]
    assert len(parts) == 3
    assert len(set(map(len, parts))) == 2
    expected = sum(by_the_library(kind, part) * len(part) for part in parts) / len(letters)
    torch.testing.assert_close(frozen(model, ["short", letters])[1:], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", SPECIAL)
def test_end_of_a_long_text_changes_the_embedding(folders, kind):
    model = encoder(folders[kind])
    one, other = frozen(model, ["a" * 40 + "b", "a" * 40 + "c"])
    assert (one - other).abs().max() > 1e-4


def test_text_over_the_length_is_truncated_and_reported(folders):
    model = encoder(folders["bert"], length=WINDOW)
    batch = model.tokenize(["a" * 10, "a" * 11, "a"])
    assert batch.cut.tolist() == [False, True, False]
    one, other = frozen(model, ["a" * 10 + "b", "a" * 10 + "c"])
    assert torch.equal(one, other)


@pytest.mark.parametrize("kind", SPECIAL)
def test_fully_trained_model_reads_windows(folders, kind):
    whole, still = encoder(folders[kind], frozen_layers=0), encoder(folders[kind])
    batch = whole.tokenize(["mara", LETTERS])
    ids, mask = torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)
    assert whole.cache_key is None
    torch.testing.assert_close(whole(ids, mask), still(still.frozen(ids, mask), mask), atol=1e-5, rtol=1e-5)
    whole(ids, mask).square().sum().backward()
    # The first of the biases of keys moves all of a softmax's inputs alike: its gradient is 0 by nature, yet there.
    assert [name for name, p in whole.named_parameters() if p.grad is None] == []


def test_partly_frozen_model_refuses_windows(folders):
    with pytest.raises(VsrError) as caught:
        encoder(folders["bert"], frozen_layers=1)
    assert "reads at most 12 tokens (text.length=60)" in str(caught.value)
    assert "set text.length to 12 or less, or text.frozen_layers to all" in str(caught.value)
    with pytest.raises(VsrError, match="type clip_text_model cannot be frozen in part"):
        encoder(folders["clip"], frozen_layers=1)
    with pytest.raises(VsrError, match="partial freezing needs a tokenizer with padding"):
        encoder(folders["bert"], frozen_layers=1, length=WINDOW, tokenizer=f"{folders['siglip']}/tokenizer.json")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_padding_bos_and_eos_are_distinct(folders, kind):
    vocabulary = encoder(folders[kind]).vocabulary
    assert len({vocabulary.pad, vocabulary.bos, vocabulary.eos}) == 3
    batch = vocabulary.encode_targets(["mara"], length=8)
    assert batch.ids[0, 4:].tolist() == [vocabulary.eos] + [vocabulary.pad] * 3
    assert vocabulary.decode(batch.ids) == ["m a r a"]


@pytest.mark.parametrize("kind", SPECIAL)
def test_encoder_is_rebuilt_from_assets(folders, kind, tmp_path, no_network):
    model = encoder(folders[kind])
    model.save_assets(tmp_path)
    again = build(HfTextOptions(model="/gone", length=60), context(assets=tmp_path)).eval()
    again.load_state_dict(model.state_dict())
    assert torch.equal(frozen(again, ["mara", LETTERS]), frozen(model, ["mara", LETTERS]))
    assert again.cache_key == model.cache_key


def test_cache_key_depends_on_window_and_pooling(folders, tmp_path):
    keys = {encoder(folders["bert"], **options).cache_key for options in ({}, {"pooling": "last"}, {"length": 30})}
    folder = sentence_transformer(tmp_path, {"pooling_mode_mean_tokens": True}, most=8)
    assert len({*keys, encoder(folder).cache_key}) == 4


def sentence_transformer(folder: Path, pooling, *, most=WINDOW) -> str:
    """A folder as sentence-transformers writes it."""
    save(folder, "bert")
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": most, "do_lower_case": False}))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    return str(folder)


@pytest.mark.parametrize(
    ("facts", "pooling"),
    [
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "cls"),
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, "mean"),
        ({"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "cls"}, "cls"),
    ],
)
def test_pooling_follows_the_sentence_transformers_folder(tmp_path, facts, pooling):
    folder = sentence_transformer(tmp_path, facts)
    own, said = encoder(folder), encoder(folder, pooling=pooling)
    assert torch.equal(frozen(own, ["mara", LETTERS]), frozen(said, ["mara", LETTERS]))
    others = {"cls", "mean", "last"} - {pooling}
    assert not any(torch.equal(frozen(own, ["mara"]), frozen(encoder(folder, pooling=it), ["mara"])) for it in others)


def test_window_follows_the_sentence_transformers_folder(tmp_path):
    model = encoder(sentence_transformer(tmp_path, {"pooling_mode_mean_tokens": True}, most=6))
    expected = (by_the_library("bert", "abcd") * 4 + by_the_library("bert", "efgh") * 4) / 8
    torch.testing.assert_close(frozen(model, ["abcdefgh"]), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("facts", [{"pooling_mode_max_tokens": True}, {}, {"pooling_mode": "weightedmean"}])
def test_unsupported_pooling_is_refused(tmp_path, facts):
    folder = sentence_transformer(tmp_path, facts)
    with pytest.raises(VsrError) as caught:
        encoder(folder)
    assert "cannot determine the pooling" in str(caught.value)
    assert "--set text.pooling=cls, mean or last" in str(caught.value)
    assert encoder(folder, pooling="mean").pooling == "mean"


def test_a_broken_folder_is_one_line(tmp_path):
    folder = sentence_transformer(tmp_path, {"pooling_mode_mean_tokens": True})
    (tmp_path / "modules.json").write_text("[{]")
    with pytest.raises(VsrError, match=r"cannot determine the pooling of .* \(") as caught:
        encoder(folder)
    assert "\n" not in str(caught.value)


def test_half_precision_weights_are_loaded_as_single(folders, tmp_path):
    save(tmp_path, "bert")
    AutoModel.from_pretrained(folders["bert"]).half().save_pretrained(tmp_path)
    assert frozen(encoder(str(tmp_path)), ["mara"]).dtype == torch.float32


@pytest.mark.parametrize(("kind", "frozen_layers"), [("clip", "all"), ("siglip", "0"), ("roberta", "1")])
def test_encoder_trains_on_stories(train_small, tmp_path, folders, kind, frozen_layers, capfd):
    settings = [
        "text.name=hf-text",
        f"text.model={folders[kind]}",
        f"text.tokenizer={folders[kind]}/tokenizer.json",
        f"text.frozen_layers={frozen_layers}",
        f"text.length={12 if kind == 'roberta' else 30}",
        "training.epochs=1",
    ]
    run = train_small(tmp_path / "run", *settings)
    assert "texts are longer and truncated there; --set text.length=N reads more" in capfd.readouterr().err
    model = load_model(run, registry())
    assert model.text.vocabulary.eos != model.text.vocabulary.pad


def tokens(model, texts):
    batch = model.tokenize(texts)
    return torch.from_numpy(batch.ids), torch.from_numpy(batch.mask)


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_spread_layers_are_first_middle_and_last(folders, kind, pooling):
    spread = encoder(folders[kind], layers="spread", pooling=pooling)
    last = encoder(folders[kind], pooling=pooling)
    assert spread.cache_key != last.cache_key
    ids, mask = tokens(spread, ["abcd", "b"])  # each in one window
    given = spread.frozen(ids, mask)
    width = SIZES["hidden_size"]
    assert given.shape == (2, 3 * width)
    assert spread(given, mask).shape == (2, 8)
    for part in given.chunk(3, dim=1):
        torch.testing.assert_close(part.square().mean(1), torch.ones(2), rtol=0.05, atol=0)
    own = torch.nn.functional.layer_norm(last.frozen(ids, mask), (width,), eps=1e-8)
    torch.testing.assert_close(given[:, 2 * width :], own)
    assert spread.frozen(*tokens(spread, [LETTERS])).shape == (1, 3 * width)  # of several windows


def test_first_spread_layer_is_the_embedding(folders):
    """The first part is the mean of the tokens' embeddings."""
    model = encoder(folders["bert"], layers="spread", pooling="mean")
    ids, mask = tokens(model, ["abc"])
    width = SIZES["hidden_size"]
    with torch.no_grad():
        expected = model.lower.embeddings(ids[:, :5]).mean(1)  # with the first and the last token
    expected = torch.nn.functional.layer_norm(expected, (width,), eps=1e-8)
    torch.testing.assert_close(model.frozen(ids, mask)[:, :width], expected)


def test_spread_layers_need_all_layers_frozen(folders):
    with pytest.raises(VsrError, match=r"text\.layers=spread .*text\.frozen_layers=1\); set text\.frozen"):
        encoder(folders["bert"], layers="spread", frozen_layers=1, length=10)
