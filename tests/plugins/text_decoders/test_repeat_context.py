import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from vsr_cli.api import BuildContext, Decoding, TrainingFrames, Vocabulary
from vsr_plugins.text_decoders import RepeatContextOptions
from vsr_plugins.text_decoders.repeat_context import FEATURES, RepeatContextDecoder, overlap, rhythm

from ..narratives import make_context, make_narrative

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
    return RepeatContextDecoder(RepeatContextOptions(length=40, dropout=0), building(vocabulary))


def narrative_of(vocabulary, *stories, real=None):
    """Make the narrative of stories of four texts each."""
    tokens = [vocabulary.encode(list(story), length=L) for story in stories]
    ids, mask = (torch.from_numpy(np.stack([getattr(each, name) for each in tokens])) for name in ("ids", "mask"))
    size = len(stories)
    mask_of_frames = torch.ones(size, K, dtype=torch.bool) if real is None else real
    rows = torch.arange(size * K).reshape(size, K)
    nothing = torch.zeros(size, K, D)
    tokenized = {"text_ids": ids, "text_mask": mask, "texts": stories}
    return make_narrative(make_context(nothing, mask=mask_of_frames, text_row=rows, **tokenized))


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
def test_overlaps_equal_rouge_l_and_meteor(pairs):
    def padded(rows):
        return torch.tensor([row + [0] * (8 - len(row)) for row in rows])

    f1, mean = overlap(padded([a for a, _ in pairs]), padded([b for _, b in pairs]), pad=0)
    expected = [plain_overlap(a, b) for a, b in pairs]
    assert torch.allclose(f1.double(), torch.tensor([x for x, _ in expected], dtype=torch.float64), atol=1e-6)
    assert torch.allclose(mean.double(), torch.tensor([x for _, x in expected], dtype=torch.float64), atol=1e-6)


@given(st.integers(1, 5), st.data())
def test_rhythm_is_the_overlap_at_equal_distance(steps, data):
    known = data.draw(st.integers(1, steps))
    scores = torch.rand(2, steps, steps, generator=torch.Generator().manual_seed(data.draw(st.integers(0, 99))))
    real = torch.arange(steps).expand(2, -1) < known
    given = rhythm(scores, real)
    for row, row_scores in zip(given.tolist(), scores.tolist(), strict=True):
        by_distance = {
            apart: np.mean([row_scores[at][at + apart] for at in range(known - apart)]) for apart in range(1, known)
        }
        elsewhere = np.mean(list(by_distance.values())) if by_distance else 0.0
        expected = [by_distance.get(known - position, elsewhere) for position in range(known)]
        assert row[:known] == pytest.approx(expected, abs=1e-6)


def test_alternating_story_repeats_the_other_text(decoder, vocabulary):
    narrative = narrative_of(
        vocabulary, ["a b c d", "g h i e", "a b c f", "g h i j"], ["a b c d", "a b c f", "g h i e", "g h j i"]
    )
    assert decoder.detokenize(decoder.generate(narrative, Decoding())) == ["a b c f", "g h j i"]


def test_generated_text_is_a_context_text(decoder, vocabulary):
    stories = [["a b c", "d e", "f", "g h i"], ["a", "a b", "c d e f g h i j", "b"]]
    written = decoder.detokenize(decoder.generate(narrative_of(vocabulary, *stories), Decoding()))
    assert all(text in story for story, text in zip(stories, written, strict=True))


@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_characters_are_lossless_up_to_the_length(vocabulary, texts):
    building = BuildContext(width=D, steps=K, image_size=32, training_texts=tuple, vocabulary=vocabulary)
    decoder = RepeatContextDecoder(RepeatContextOptions(length=L), building)
    tokens = decoder.tokenize(texts)
    assert tokens.ids.shape == (len(texts), L)
    assert decoder.detokenize(torch.from_numpy(tokens.ids)) == [text[:L] for text in texts]
    end = decoder.tokenize([""]).ids[0, 0]
    ends = tokens.ids[np.arange(len(texts)), tokens.mask.sum(axis=1) - 1] == end
    assert ends.tolist() == [len(text) < L for text in texts]


def test_repeated_text_has_its_case_punctuation_and_spaces(decoder, vocabulary):
    story = ["“A b”, c — D!", "a b c d", "A  b;\nC", "e"]
    narrative = narrative_of(vocabulary, story)
    assert decoder.detokenize(decoder.generate(narrative, Decoding()))[0] in story[:3]


def test_padding_frames_are_not_selected(decoder, vocabulary):
    real = torch.tensor([[True, True, False, False]])
    one = narrative_of(vocabulary, ["a b", "c d e", "f f", "g"], real=real)
    other = narrative_of(vocabulary, ["a b", "c d e", "h", "i i i i"], real=real)
    written = [decoder.detokenize(decoder.generate(each, Decoding())) for each in (one, other)]
    assert written[0] == written[1]
    assert written[0][0] in ("a b", "c d e")


def stories_with_a_refrain(count):
    """Return stories in which the second text comes back as the fifth."""
    random = np.random.default_rng(0)
    for _ in range(count):
        letters = [" ".join(random.choice(list("abcdefghij"), 4)) for _ in range(4)]
        yield letters, letters[1]


def test_decoder_learns_which_text_repeats(decoder, vocabulary):
    stories, targets = zip(*stories_with_a_refrain(64), strict=True)
    narrative = narrative_of(vocabulary, *stories)
    tokens = decoder.tokenize(targets)
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    decoder.fit(
        TrainingFrames(
            texts=[text for story in stories for text in story],
            images=lambda rows: np.zeros((len(rows), 32, 32, 3), np.uint8),
            visual=lambda: pytest.fail("not asked for"),
            text=lambda: pytest.fail("not asked for"),
            visual_trains=True,
            text_trains=True,
            story=np.repeat(np.arange(64), K),
        )
    )
    features = decoder._describe(decoder._texts(narrative), narrative.context.mask)
    assert torch.allclose(decoder.mean, features.flatten(0, 1).mean(0), atol=1e-5)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    first = decoder.loss(narrative, ids, mask).item()
    for _ in range(150):
        optimizer.zero_grad()
        decoder.loss(narrative, ids, mask).backward()
        optimizer.step()
    assert decoder.loss(narrative, ids, mask).item() < 0.5 * first
    decoder.eval()
    again = decoder.detokenize(decoder.generate(narrative, Decoding()))
    assert np.mean([text == target for text, target in zip(again, targets, strict=True)]) > 0.9


def test_empty_texts_are_accepted(decoder, vocabulary):
    narrative = narrative_of(vocabulary, ["", "", "", ""])
    described = decoder._describe(decoder._texts(narrative), narrative.context.mask)
    assert described.shape == (1, K, FEATURES)
    assert described.isfinite().all()
    assert decoder.detokenize(decoder.generate(narrative, Decoding())) == [""]
