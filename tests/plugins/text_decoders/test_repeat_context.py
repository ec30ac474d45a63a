import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from vsr_cli.api import BuildContext, Context, Decoding, Narrative, TrainingFrames, Vocabulary
from vsr_plugins.text_decoders import RepeatContextOptions
from vsr_plugins.text_decoders.repeat_context import FEATURES, RepeatContextDecoder, overlap, rhythm

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", *"abcdefghij"]
L, K, D = 10, 4, 8


@pytest.fixture(scope="module")
def vocabulary():
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return Vocabulary(tokenizer=tokenizer, pad=0, bos=1, eos=2)


def building(vocabulary, assets=None):
    return BuildContext(width=D, steps=K, image_size=32, training_texts=tuple, vocabulary=vocabulary, assets=assets)


@pytest.fixture
def decoder(vocabulary):
    torch.manual_seed(0)
    return RepeatContextDecoder(RepeatContextOptions(length=L, dropout=0), building(vocabulary))


def narrative(vocabulary, *stories, real=None):
    """Make the narrative of stories of four texts each."""
    tokens = [vocabulary.encode(list(story), length=L) for story in stories]
    ids, mask = (torch.from_numpy(np.stack([getattr(each, name) for each in tokens])) for name in ("ids", "mask"))
    size = len(stories)
    nothing = torch.zeros(size, K, D)
    context = Context(
        visual=nothing,
        text=nothing,
        text_ids=ids,
        text_mask=mask,
        mask=torch.ones(size, K, dtype=torch.bool) if real is None else real,
        last_image=torch.zeros(size, 3, 32, 32),
        story=torch.arange(size),
        text_row=torch.arange(size * K).reshape(size, K),
        texts=[["A dog runs."] * K] * size,
        images=lambda: torch.zeros(size, K, 3, 8, 8),
    )
    return Narrative(steps=nothing, summary=nothing[:, 0], visual=nothing, text=nothing, context=context)


def plain_overlap(ours, theirs):
    """Say the same in plain Python."""
    table = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for i, j in itertools.product(range(len(ours)), range(len(theirs))):
        table[i + 1][j + 1] = table[i][j] + 1 if ours[i] == theirs[j] else max(table[i][j + 1], table[i + 1][j])
    shared = sum(min(ours.count(token), theirs.count(token)) for token in set(ours))
    own, other = max(1, len(ours)), max(1, len(theirs))
    f1 = 2 * table[-1][-1] / (own + other)
    precision, recall = shared / own, shared / other
    mean = precision * recall / (0.9 * precision + 0.1 * recall) if shared else 0.0
    return f1, mean


texts = st.lists(st.integers(1, 5), max_size=8)


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=6))
def test_overlaps_are_rouge_ls_and_meteors(pairs):
    def padded(rows):
        return torch.tensor([row + [0] * (8 - len(row)) for row in rows])

    f1, mean = overlap(padded([a for a, _ in pairs]), padded([b for _, b in pairs]), pad=0)
    expected = [plain_overlap(a, b) for a, b in pairs]
    assert torch.allclose(f1.double(), torch.tensor([x for x, _ in expected], dtype=torch.float64), atol=1e-6)
    assert torch.allclose(mean.double(), torch.tensor([x for _, x in expected], dtype=torch.float64), atol=1e-6)


@given(st.integers(1, 5), st.data())
def test_a_texts_rhythm_is_that_of_texts_as_far_apart_as_it_and_the_next(steps, data):
    known = data.draw(st.integers(1, steps))
    scores = torch.rand(2, steps, steps, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    real = torch.arange(steps).expand(2, -1) < known
    given = rhythm(scores, real)
    for row, row_scores in zip(given.tolist(), scores.tolist(), strict=True):
        by_distance = {
            apart: np.mean([row_scores[at][at + apart] for at in range(known - apart)]) for apart in range(1, known)
        }
        elsewhere = np.mean(list(by_distance.values())) if by_distance else 0.0
        expected = [by_distance.get(known - place, elsewhere) for place in range(known)]
        assert row[:known] == pytest.approx(expected, abs=1e-6)


def test_a_story_told_in_turns_goes_on_with_the_other_turn(decoder, vocabulary):
    told = narrative(
        vocabulary, ["a b c d", "g h i e", "a b c f", "g h i j"], ["a b c d", "a b c f", "g h i e", "g h j i"]
    )
    assert decoder.detokenize(decoder.generate(told, Decoding())) == ["a b c f", "g h j i"]


def test_what_is_written_is_one_of_the_contexts_texts_whole(decoder, vocabulary):
    stories = [["a b c", "d e", "f", "g h i"], ["a", "a b", "c d e f g h i j", "b"]]
    ids = decoder.generate(narrative(vocabulary, *stories), Decoding())
    assert ids.shape == (2, L)
    for story, text, row in zip(stories, decoder.detokenize(ids), ids.tolist(), strict=True):
        assert text in story
        end = row.index(vocabulary.eos)
        assert set(row[end + 1 :]) <= {vocabulary.pad}


def test_frames_that_fill_a_short_context_are_neither_chosen_nor_witnesses(decoder, vocabulary):
    real = torch.tensor([[True, True, False, False]])
    one = narrative(vocabulary, ["a b", "c d e", "f f", "g"], real=real)
    other = narrative(vocabulary, ["a b", "c d e", "h", "i i i i"], real=real)
    written = [decoder.detokenize(decoder.generate(each, Decoding())) for each in (one, other)]
    assert written[0] == written[1]
    assert written[0][0] in ("a b", "c d e")


def stories_with_a_refrain(count):
    """Return stories in which the second text comes back as the fifth."""
    random = np.random.default_rng(0)
    for _ in range(count):
        letters = [" ".join(random.choice(list("abcdefghij"), 4)) for _ in range(4)]
        yield letters, letters[1]


def test_it_learns_which_text_comes_back(decoder, vocabulary):
    stories, targets = zip(*stories_with_a_refrain(64), strict=True)
    told = narrative(vocabulary, *stories)
    tokens = decoder.tokenize(targets)
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    decoder.fit(
        TrainingFrames(
            texts=[text for story in stories for text in story],
            images=lambda places: np.zeros((len(places), 32, 32, 3), np.uint8),
            visual=lambda: pytest.fail("not asked for"),
            text=lambda: pytest.fail("not asked for"),
            visual_trains=True,
            text_trains=True,
            story=np.repeat(np.arange(64), K),
        )
    )
    features = decoder._describe(decoder._texts(told), told.context.mask)
    assert torch.allclose(decoder.mean, features.flatten(0, 1).mean(0), atol=1e-5)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    first = decoder.loss(told, ids, mask).item()
    for _ in range(150):
        optimizer.zero_grad()
        decoder.loss(told, ids, mask).backward()
        optimizer.step()
    assert decoder.loss(told, ids, mask).item() < 0.5 * first
    decoder.eval()
    again = decoder.detokenize(decoder.generate(told, Decoding()))
    assert np.mean([text == target for text, target in zip(again, targets, strict=True)]) > 0.9


def test_empty_texts_are_described_too(decoder, vocabulary):
    told = narrative(vocabulary, ["", "", "", ""])
    described = decoder._describe(decoder._texts(told), told.context.mask)
    assert described.shape == (1, K, FEATURES)
    assert described.isfinite().all()
    assert decoder.detokenize(decoder.generate(told, Decoding())) == [""]
