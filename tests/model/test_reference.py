"""The reference preset at full size with random weights."""

import json
import shutil
import socket
from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import nn

from vsr_cli.api import Decoding, Target
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.data.batches import Contexts
from vsr_cli.data.cache.extraction import Features
from vsr_cli.data.prepared_types import Frames, Windows
from vsr_cli.data.shards import ArrayRows
from vsr_cli.files.checksums import write_checksums
from vsr_cli.model.building import build_model, save_assets
from vsr_cli.model.weights import frozen_names, load_model, load_weights, save_weights
from vsr_cli.plugin.discovery import registry
from vsr_cli.runs.opening import created_run

pytestmark = pytest.mark.slow

WORDS = 30_522
"""Those of BERT's uncased vocabulary."""
B, K, L, SIZE = 2, 4, 32, 224
CPU = torch.device("cpu")


def write_tokenizer(path):
    """Write a WordPiece tokenizer of BERT's size and special ids, with made-up words."""
    pieces = ["[PAD]", *[f"[unused{number}]" for number in range(99)], "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    pieces += letters + [f"##{letter}" for letter in letters]
    pieces += [f"word{number}" for number in range(WORDS - len(pieces))]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(path))


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def config(tokenizer_file):
    chosen = ["visual.weights=random", "text.weights=random", f"text.tokenizer={tokenizer_file}"]
    return resolve_train(registry(), preset="reference", layers=[preset_layer("reference"), *parse_set(chosen)])


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return build_model(config, image_size=SIZE)


@pytest.fixture(scope="module")
def frames():
    """Ten images, and ten texts of which some are far longer than 32 tokens."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (B * (K + 1), SIZE, SIZE, 3), dtype=np.uint8)
    texts = [f"Frame {number} tells of " + "word7 word8 " * (3 * number) for number in range(B * (K + 1))]
    return Frames(ArrayRows(images), texts)


def contexts_of(model, frames):
    rows = np.arange(B * (K + 1)).reshape(B, K + 1)
    windows = Windows(["one", "two"], rows, rows, np.zeros_like(rows, dtype=bool), np.zeros(B, dtype=np.int64))
    features = Features(visual=None, text=None, tokens=model.text.tokenize(frames.texts))
    return Contexts(frames, windows, visual=model.visual, text=model.text, features=features, device=CPU)


@pytest.fixture(scope="module")
def context(model, frames):
    model.eval()
    return contexts_of(model, frames).batch(np.arange(B))


@pytest.fixture(scope="module")
def target(model):
    texts = ["word1 word2 word3 word4 word5 word6", "word9 word9"]
    batch = model.text_decoder.tokenize(texts)
    image = torch.rand(B, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    return Target(ids=torch.from_numpy(batch.ids), mask=torch.from_numpy(batch.mask), image=image, texts=texts)


def test_it_reads_four_frames_of_224_pixels_and_32_tokens(model, context):
    assert context.text_ids.shape == context.text_mask.shape == (B, K, L)
    assert context.last_image.shape == (B, 3, SIZE, SIZE)
    assert context.visual.shape == (B, K, 2048)
    assert context.text.shape == (B, K, L, 768)
    assert not context.visual.requires_grad
    assert not context.text.requires_grad
    narrative = model.encode_context(context)
    assert narrative.visual.shape == narrative.text.shape == narrative.steps.shape == (B, K, 256)
    assert narrative.summary.shape == (B, 256)


def test_encoders_map_byte_images_to_256_dimensions(model):
    images = torch.randint(0, 256, (B * K, 3, SIZE, SIZE), dtype=torch.uint8)
    pixels = model.visual.pixels(images)
    assert pixels.shape == (B * K, 3, SIZE, SIZE)
    assert model.visual(model.visual.frozen(pixels)).shape == (B * K, 256)


def test_it_outputs_a_224_pixel_image_and_scores_of_every_word(model, context, target):
    with torch.no_grad():
        narrative = model.encode_context(context)
        image = model.image_decoder(narrative)
        logits = model.text_decoder.logits(narrative, target.ids)
    assert image.shape == (B, 3, SIZE, SIZE)
    assert image.min() >= 0
    assert image.max() <= 1
    assert logits.shape == (B, target.ids.shape[1], WORDS)
    assert len(model.text.vocabulary) == WORDS
    assert len(model.predict(context, Decoding()).texts) == B


def is_frozen(name):
    """What the reference design freezes, written out by name."""
    if name.startswith("visual.network."):
        return True  # every convolution and batch norm of the ResNet
    return name.startswith(("text.lower.embeddings.", *(f"text.lower.transformer.layer.{n}." for n in range(4))))


def test_exactly_the_resnet_and_the_lower_distilbert_are_frozen(model):
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {name for name, _ in model.named_parameters() if is_frozen(name)}
    kinds = {type(module) for module in model.visual.network.modules() if list(module.parameters(recurse=False))}
    assert kinds == {nn.Conv2d, nn.BatchNorm2d}
    assert len(model.text.lower.transformer.layer) == 4
    assert len(model.text.upper) == 2


def test_it_has_the_sizes_of_the_published_networks(model):
    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert count(model.visual.network) == 23_508_032  # ResNet-50's 25,557,032 less its 2,049,000 of the classifier
    assert count(model.text.lower) + count(model.text.upper) == 66_362_880  # DistilBERT


def test_everything_else_gets_a_gradient(model, context, target):
    model.train()
    model.zero_grad()
    model(context, target)["loss"].backward()
    for name, parameter in model.named_parameters():
        reached = parameter.grad is not None and bool(parameter.grad.any())
        assert reached != is_frozen(name), name
    model.zero_grad()
    model.eval()


def test_frozen_layers_stay_in_eval_mode_while_the_model_trains(model):
    norms = [module for module in model.visual.network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model.train()
    assert len(norms) == 53
    assert not any(module.training for module in model.visual.network.modules())
    assert not any(module.training for module in model.text.lower.modules())
    assert model.text.upper.training
    model.visual.frozen(torch.randn(2, 3, SIZE, SIZE))
    assert all(torch.equal(norm.running_mean, old) for norm, old in zip(norms, before, strict=True))
    model.eval()


@pytest.mark.parametrize("position", [0, 3, 6])
def test_scores_do_not_depend_on_the_same_or_later_targets(model, context, target, position):
    other = target.ids.clone()
    other[:, position:] = (other[:, position:] + 1234) % WORDS
    with torch.no_grad():
        narrative = model.encode_context(context)
        one, two = (model.text_decoder.logits(narrative, ids) for ids in (target.ids, other))
    assert torch.equal(one[:, : position + 1], two[:, : position + 1])
    assert not torch.equal(one[:, position + 1 :], two[:, position + 1 :])


def test_the_text_loss_is_that_of_the_shifted_targets(model, context, target):
    with torch.no_grad():
        loss = model(context, target)["text"]
        narrative = model.encode_context(context)
        by_hand, tokens = 0.0, 0
        for story in range(B):
            for position in range(int(target.mask[story].sum())):
                blind = torch.zeros_like(target.ids)
                blind[:, :position] = target.ids[:, :position]  # nothing of the target but what is already written
                scores = model.text_decoder.logits(narrative, blind)[story, position]
                by_hand -= float(scores.log_softmax(-1)[target.ids[story, position]])
                tokens += 1
    assert float(loss) == pytest.approx(by_hand / tokens, rel=1e-5)


def test_a_model_is_rebuilt_from_its_run_folder_alone(model, config, context, frames, tmp_path, monkeypatch):
    tokenizer_file = tmp_path / "moved.json"
    shutil.copy(config.parts["text"].options.tokenizer, tokenizer_file)
    options = config.parts["text"].options.model_copy(update={"tokenizer": str(tokenizer_file)})
    parts = {**config.parts, "text": replace(config.parts["text"], options=options)}
    record = replace(config, parts=parts).record() | {"data": {"image_size": SIZE, "context_frames": 4}}
    with created_run(tmp_path / "run", config=record, data=tmp_path, distributions={}) as run:
        pass
    save_assets(model, run.assets)
    save_weights(model, run.folder / "frozen.safetensors", frozen=True)
    run.record_checksums()
    save_weights(model, run.checkpoint("best") / "model.safetensors", frozen=False)
    write_checksums(run.checkpoint("best"), ["model.safetensors"])
    frozen, kept = (
        load_weights(path) for path in (run.folder / "frozen.safetensors", run.checkpoint("best") / "model.safetensors")
    )
    assert frozen.keys() == frozen_names(model)
    assert frozen.keys() | kept.keys() == model.state_dict().keys()
    assert all(is_frozen(name) for name in frozen)
    assert not any(is_frozen(name) for name in kept)
    assert json.loads((run.folder / "config.json").read_text())["text"]["weights"] == "random"

    tokenizer_file.unlink()

    def refuse(*arguments, **options):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    torch.manual_seed(99)  # other random weights, were they not read from the run
    rebuilt = load_model(run, registry())
    with torch.no_grad():
        again = contexts_of(rebuilt, frames).batch(np.arange(B))
        before, after = model.eval().predict(context, Decoding()), rebuilt.predict(again, Decoding())
    assert torch.equal(again.visual, context.visual)
    assert torch.equal(again.text, context.text)
    assert after.texts == before.texts
    assert torch.equal(after.images, before.images)
    assert rebuilt.visual.cache_key == model.visual.cache_key
    assert rebuilt.text.cache_key == model.text.cache_key
