import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from torch.nn import functional

from vsr_cli.api import (
    BuildContext,
    Decoding,
    NextQuery,
    Options,
    TrainingFrames,
    Vocabulary,
    VsrError,
)
from vsr_plugins.image_decoders.retrieval import RetrievalImageDecoder
from vsr_plugins.text_decoders import RetrievalOptions
from vsr_plugins.text_decoders.retrieval import RetrievalTextDecoder

from ..narratives import make_context, make_narrative

TEXTS = ["a cat", "a dog runs", "a cat", "the end"]
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "cat", "dog", "runs", "the", "end"]
H = 32


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return Vocabulary(tokenizer=tokenizer, pad=0, bos=1, eos=2)


def building(vocabulary, assets=None):
    return BuildContext(width=8, steps=4, image_size=H, training_texts=tuple, vocabulary=vocabulary, assets=assets)


def frames(**given):
    """Return four frames, each along an axis of its own, and with an image of its own grey."""
    pictures = np.stack([np.full((H, H, 3), 60 * at, np.uint8) for at in range(4)])
    axes = (np.eye(4) * [[1], [5], [1], [0.1]]).astype(np.float32)
    return TrainingFrames(
        texts=TEXTS,
        images=lambda rows: pictures[list(rows)],
        visual=lambda: axes,
        text=lambda: axes,
        visual_trains=given.get("trains", False),
        text_trains=given.get("trains", False),
        story=np.zeros(4, np.int64),
    )


def narrative_of(*axes):
    """Look for a frame along each of these axes."""
    size = len(axes)
    query = functional.normalize(torch.eye(4)[list(axes)] + 0.2, dim=-1)
    rows = torch.arange(size * 4).reshape(size, 4)
    context = make_context(torch.zeros(size, 4, 8), text_row=rows, last_image=torch.zeros(size, 3, H, H))

    def keys(vectors):
        return functional.normalize(vectors, dim=-1)

    asked = NextQuery(visual=query, text=query, image_keys=keys, text_keys=keys)
    return make_narrative(context, next=asked)


@pytest.fixture
def text(vocabulary):
    decoder = RetrievalTextDecoder(RetrievalOptions(length=20), building(vocabulary))
    decoder.fit(frames())
    return decoder


@pytest.fixture
def image(vocabulary):
    decoder = RetrievalImageDecoder(Options(), building(vocabulary))
    decoder.fit(frames())
    return decoder


def test_text_is_the_nearest_training_text(text):
    ids = text.generate(narrative_of(3, 0, 1), Decoding())
    assert text.detokenize(ids) == ["the end", "a cat", "a dog runs"]


def test_each_distinct_text_is_stored_once(text):
    assert len(text.memory.vectors) == 3
    assert torch.equal(text.memory.vectors[0], torch.tensor([1.0, 0, 0, 0]))


def test_image_is_the_nearest_training_image(image):
    generated = image(narrative_of(3, 0))
    assert generated.shape == (2, 3, H, H)
    assert torch.allclose(generated[0], torch.tensor(180 / 255), atol=0.02)
    assert torch.allclose(generated[1], torch.tensor(0.0), atol=0.02)


def test_stored_images_are_evenly_sampled(vocabulary, monkeypatch):
    monkeypatch.setattr("vsr_plugins.image_decoders.retrieval.LARGEST_MEMORY", 2)
    decoder = RetrievalImageDecoder(Options(), building(vocabulary))
    decoder.fit(frames())
    assert decoder.memory.vectors.argmax(dim=1).tolist() == [0, 3]


def test_memory_is_restored_from_assets(text, image, vocabulary, tmp_path):
    for decoder, name, build, options in (
        (text, "text", RetrievalTextDecoder, RetrievalOptions(length=20)),
        (image, "image", RetrievalImageDecoder, Options()),
    ):
        folder = tmp_path / name
        folder.mkdir()
        decoder.save_assets(folder)
        again = build(options, building(vocabulary, folder))
        again.load_state_dict(decoder.state_dict())
        assert torch.equal(again.memory.vectors, decoder.memory.vectors)
        assert again.memory.kept.keys() == decoder.memory.kept.keys()
    assert torch.equal(again(narrative_of(2)), image(narrative_of(2)))


def test_damaged_memory_is_one_line(tmp_path, vocabulary):
    (tmp_path / "memory.safetensors").write_bytes(b"nothing")
    with pytest.raises(VsrError, match=r"memory\.safetensors: the retrieval memory cannot be read"):
        RetrievalTextDecoder(RetrievalOptions(), building(vocabulary, tmp_path))


def test_untrained_space_is_refused(vocabulary):
    for build, options in (
        (RetrievalTextDecoder, RetrievalOptions()),
        (RetrievalImageDecoder, Options()),
    ):
        with pytest.raises(VsrError, match=r"encoder trains from its first layer"):
            build(options, building(vocabulary)).fit(frames(trains=True))


def test_retrieval_needs_the_next_frame_objective(train_small, tmp_path):
    with pytest.raises(VsrError, match=r"text decoder 'retrieval': .* add --set objective\.next_frame=1"):
        train_small(tmp_path / "run", "text_decoder.name=retrieval", "text_decoder.length=24")
