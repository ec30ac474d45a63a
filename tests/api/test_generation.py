"""Greedy decoding, beam search and sampling, compared with plain implementations."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from vsr_cli.api import Decoding, Vocabulary
from vsr_cli.api.generation import draw, forbid_repeats, random_generators, uniform_numbers, write

torch.set_num_threads(1)  # at these sizes a pool of threads costs more than it saves

PAD, BOS, EOS = 0, 1, 2
HIDDEN = 4
SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]
TOKENIZER = Tokenizer(models.WordLevel({name: index for index, name in enumerate(SPECIAL)}, unk_token="[PAD]"))
VOCABULARY = Vocabulary(tokenizer=TOKENIZER, pad=PAD, bos=BOS, eos=EOS)


class Toy:
    """A recurrent decoder of double precision whose every score depends on all that was written, and on its story."""

    def __init__(self, size, seed=0, eos=0.0):
        random = torch.Generator().manual_seed(seed)
        self.words, self.carry, self.out = (
            torch.randn(*shape, generator=random, dtype=torch.double)
            for shape in ((size, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, size))
        )
        self.eos, self.random, self.steps = eos, random, 0

    def stories(self, count):
        """Return the first states of some stories, and what is fixed in each."""
        first, fixed = torch.randn(2, count, HIDDEN, generator=self.random, dtype=torch.double)
        return (first,), (fixed,)

    def __call__(self, tokens, state, fixed):
        self.steps += 1
        after = torch.tanh(state[0] @ self.carry + self.words[tokens] + fixed[0])
        scores = 2 * after @ self.out
        scores[:, EOS] += self.eos
        return scores, (after,)

    def next(self, text, state, fixed):
        """Return the log-probabilities of what follows a text of one story, as a list."""
        for token in [BOS, *text]:
            scores, state = self(torch.tensor([token]), state, fixed)
        scores[:, [PAD, BOS]] = -math.inf
        return scores[0].float().log_softmax(-1).tolist()


def contexts(count, first=0):
    """Stories of different texts."""
    ids = torch.arange(first, first + count)[:, None, None] + torch.arange(4)[:, None] * torch.arange(3)
    return SimpleNamespace(text_ids=ids, text_mask=ids >= 0, mask=torch.ones(count, 4, dtype=torch.bool))


def written(toy, state, fixed, *, length, **decoding):
    texts = write(
        toy,
        state,
        fixed=fixed,
        context=contexts(len(state[0])),
        vocabulary=VOCABULARY,
        length=length,
        decoding=Decoding(**decoding),
    )
    assert texts.shape == (len(state[0]), length)
    return [cut(row) for row in texts.tolist()]


def cut(row):
    """Return a row up to its eos, and see that padding follows and nothing else."""
    end = row.index(EOS) + 1 if EOS in row else len(row)
    assert set(row[end:]) <= {PAD}
    assert not {PAD, BOS} & set(row[:end])
    return row[:end]


def each(state, fixed):
    """Part the stories."""
    return [((state[0][row : row + 1],), (fixed[0][row : row + 1],)) for row in range(len(state[0]))]


def repeats(text, token, n):
    """Whether a token after a text would end a run of n tokens that the text holds already."""
    run = [*text, token][-n:]
    return len(text) >= n and any(text[position : position + n] == run for position in range(len(text) - n + 1))


def greedily(toy, state, fixed, *, length, n=0):
    text = []
    while len(text) < length and EOS not in text:
        scores = toy.next(text, state, fixed)
        allowed = [token for token in range(len(scores)) if not (n and repeats(text, token, n))]
        text.append(max(allowed, key=scores.__getitem__))
    return text


def by_beams(toy, state, fixed, *, k, length, penalty, n=0):
    """The search in plain words: lists of (log-probability, text)."""
    live, ended = [(0.0, [])], []
    for position in range(1, length + 1):
        longer = sorted(
            (
                (total + score, [*text, token])
                for total, text in live
                for token, score in enumerate(toy.next(text, state, fixed))
                if score > -math.inf and not (n and repeats(text, token, n))
            ),
            reverse=True,
        )
        ended += [(total / position**penalty, text) for total, text in longer[:k] if text[-1] == EOS]
        live = [(total, text) for total, text in longer if text[-1] != EOS][:k]
        if len(ended) >= k:
            return max(ended)[1]
    return max(ended + [(total / length**penalty, text) for total, text in live])[1]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_greedy_takes_the_most_likely_token_at_each_step(n):
    toy = Toy(7, seed=n)
    state, fixed = toy.stories(6)
    expected = [greedily(toy, *story, length=9, n=n) for story in each(state, fixed)]
    assert written(toy, state, fixed, length=9, no_repeat_ngram=n) == expected
    assert len({len(text) for text in expected}) > 1


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_wide_beam_finds_the_most_likely_text(penalty, seed):
    toy, length = Toy(5, seed=seed), 4
    state, fixed = toy.stories(3)
    words = [3, 4]
    for story, found in zip(
        each(state, fixed),
        written(toy, state, fixed, length=length, method="beam", beams=40, length_penalty=penalty),
        strict=True,
    ):
        texts = [[*start, EOS] for size in range(length) for start in itertools.product(words, repeat=size)]
        texts += [list(text) for text in itertools.product(words, repeat=length)]

        def score(text, story=story):
            total = sum(toy.next(text[:position], *story)[token] for position, token in enumerate(text))
            return total / len(text) ** penalty

        assert found == max(texts, key=score)


@pytest.mark.parametrize(("k", "n"), [(1, 0), (2, 0), (3, 0), (4, 2), (3, 1)])
@pytest.mark.parametrize("eos", [-2.0, 1.0])
def test_narrow_beam_equals_plain_beam_search(k, n, eos):
    toy = Toy(8, seed=k, eos=eos)
    state, fixed = toy.stories(8)
    options = {"beams": k, "length_penalty": 0.8, "no_repeat_ngram": n}
    expected = [by_beams(toy, *story, k=k, length=7, penalty=0.8, n=n) for story in each(state, fixed)]
    assert written(toy, state, fixed, length=7, method="beam", **options) == expected


def test_one_beam_equals_greedy():
    toy = Toy(9, seed=5)
    state, fixed = toy.stories(20)
    greedy = written(toy, state, fixed, length=8)
    assert written(toy, state, fixed, length=8, method="beam", beams=1) == greedy
    assert written(toy, state, fixed, length=8, method="beam", beams=5) != greedy


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_stateless_decoder_generates(method):
    scores = torch.randn(5, 9, 9, generator=torch.Generator().manual_seed(4))
    options = {"fixed": (scores,), "context": contexts(5), "vocabulary": VOCABULARY, "length": 6}
    options["decoding"] = Decoding(method=method)

    def step(tokens, state, fixed):
        return fixed[0][torch.arange(len(tokens)), tokens], state

    texts = write(step, (), **options)
    assert texts.equal(write(step, (torch.zeros(5, 1),), **options))
    assert len(set(map(tuple, texts.tolist()))) == 5


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_generation_stops_once_every_text_has_eos(method):
    toy = Toy(6, eos=50.0)
    state, fixed = toy.stories(4)
    assert written(toy, state, fixed, length=30, method=method) == [[EOS]] * 4
    assert toy.steps < 6


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_other_special_tokens_are_never_generated(method):
    tokenizer = Tokenizer.from_str(TOKENIZER.to_str())
    tokenizer.add_special_tokens(["[END OF DOCUMENT]", "[MASK]"])
    vocabulary = replace(VOCABULARY, tokenizer=tokenizer)
    forbidden = {tokenizer.token_to_id(name) for name in ("[END OF DOCUMENT]", "[MASK]", "[PAD]", "[CLS]")}
    toy = Toy(9, eos=-50.0)
    state, fixed = toy.stories(4)
    how = Decoding(method=method)
    ids = write(toy, state, fixed=fixed, context=contexts(4), vocabulary=vocabulary, length=20, decoding=how)
    assert forbidden.isdisjoint(ids.flatten().tolist())


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
@pytest.mark.parametrize("shared", ["pad", "bos"])
def test_text_ends_where_eos_is_also_the_token_of_padding_or_of_the_beginning(method, shared):
    vocabulary = replace(VOCABULARY, **{shared: EOS})
    toy = Toy(9, eos=50.0)
    state, fixed = toy.stories(2)
    how = Decoding(method=method)
    ids = write(toy, state, fixed=fixed, context=contexts(2), vocabulary=vocabulary, length=5, decoding=how)
    assert ids[:, 0].tolist() == [EOS, EOS]


def test_generation_without_allowed_tokens_ends_in_padding():
    """Three words, none twice, and eos never: after three positions nothing may follow."""
    toy = Toy(6, eos=-math.inf)
    state, fixed = toy.stories(4)
    for text in written(toy, state, fixed, length=3, method="beam", beams=8, no_repeat_ngram=1):
        assert sorted(text) == [3, 4, 5]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), st.lists(st.integers(3, 6), max_size=14))
def test_no_repeat_ngram_forbids_exactly_repeating_tokens(n, text):
    scores = torch.zeros(2, 7)
    forbid_repeats(scores, torch.tensor([text, text[::-1]], dtype=torch.long).reshape(2, -1), length=n)
    for row, words in zip(scores.tolist(), (text, text[::-1]), strict=True):
        assert row == [-math.inf if repeats(words, token, n) else 0 for token in range(7)]


@pytest.mark.parametrize("decoding", [{"method": "beam", "beams": 3}, {"method": "sample"}, {}])
def test_no_repeat_ngram_prevents_repeats(decoding):
    toy = Toy(6, seed=2, eos=-4.0)
    state, fixed = toy.stories(16)

    def twice(texts):
        runs = [[tuple(text[position : position + 2]) for position in range(len(text) - 1)] for text in texts]
        return any(len(set(row)) < len(row) for row in runs)

    assert not twice(written(toy, state, fixed, length=12, no_repeat_ngram=2, **decoding))
    assert twice(written(toy, state, fixed, length=12, **decoding))


def test_sampled_text_does_not_depend_on_the_batch(monkeypatch):
    toy = Toy(30, seed=1)
    state, fixed = toy.stories(12)
    everyone = contexts(12)

    def sampled(rows, seed=0):
        context = SimpleNamespace(**{name: value[rows] for name, value in vars(everyone).items()})
        decoding = Decoding(method="sample", seed=seed)
        given = {"context": context, "vocabulary": VOCABULARY, "length": 10, "decoding": decoding}
        return write(toy, (state[0][rows],), fixed=(fixed[0][rows],), **given).tolist()

    together = sampled(list(range(12)))
    torch.randn(100)  # what others draw in between changes nothing
    assert sampled([7, 3]) == [together[7], together[3]]
    assert [sampled([row])[0] for row in range(12)] == together
    assert sampled(list(range(12)), seed=1) != together
    assert len(set(map(tuple, together))) > 6
    monkeypatch.setattr("vsr_cli.api.generation.DRAWN_TOGETHER", 5)
    assert sampled(list(range(12))) == together


def test_random_numbers_are_uniform_and_independent():
    numbers = uniform_numbers(contexts(500), seed=3, count=40).numpy()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(np.histogram(numbers, bins=20, range=(0, 1))[0] / numbers.size - 0.05).max() < 0.006
    others = uniform_numbers(contexts(500), seed=4, count=40).numpy()
    padded = contexts(500)
    padded.text_ids[:, 0, 0], padded.text_mask[:, 0, 0] = 9, False
    one, other = (uniform_numbers(each, seed=3, count=40) for each in (padded, contexts(500)))
    assert not torch.equal(one, other)
    padded.text_ids[:, 0, 0] = 5
    assert torch.equal(one, uniform_numbers(padded, seed=3, count=40)), "what is padding does not matter"
    pairs = [(numbers[:-1], numbers[1:]), (numbers[:, :-1], numbers[:, 1:]), (numbers, others)]
    assert all(abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.03 for one, other in pairs)


def test_a_generator_per_story_depends_on_its_texts_and_the_seed_only():
    def drawn(context, seed):
        return torch.stack([torch.rand(5, generator=each) for each in random_generators(context, seed=seed)])

    together = drawn(contexts(6), 3)
    alone = contexts(6)
    alone.text_ids, alone.text_mask = alone.text_ids[4:5], alone.text_mask[4:5]
    assert torch.equal(drawn(alone, 3), together[4:5])
    assert len({tuple(row) for seed in (3, 4) for row in drawn(contexts(6), seed).tolist()}) == 12


def frequencies(scores, *, rows=40_000, **options):
    numbers = (torch.arange(rows) + 0.5) / rows
    tokens = draw(scores.expand(rows, -1), numbers, decoding=Decoding(method="sample", **options))
    return (torch.bincount(tokens, minlength=len(scores)) / rows).tolist()


SCORES = torch.tensor([0.5, 0.25, 0.125, 0.0625, 0.0625]).log()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.25, 0.125, 0.0625, 0.0625]),
        ({"temperature": 0.5}, [64 / 86, 16 / 86, 4 / 86, 1 / 86, 1 / 86]),
        ({"temperature": 0.01}, [1, 0, 0, 0, 0]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"top_k": 1}, [1, 0, 0, 0, 0]),
        ({"top_k": 9}, [0.5, 0.25, 0.125, 0.0625, 0.0625]),
        ({"top_p": 0.74}, [2 / 3, 1 / 3, 0, 0, 0]),
        ({"top_p": 0.76}, [4 / 7, 2 / 7, 1 / 7, 0, 0]),
        ({"top_p": 0.01}, [1, 0, 0, 0, 0]),
        ({"top_k": 3, "top_p": 0.8}, [2 / 3, 1 / 3, 0, 0, 0]),
    ],
)
def test_tokens_are_sampled_by_their_probability(options, expected):
    turned = [3, 0, 4, 1, 2]
    assert frequencies(SCORES, **options) == pytest.approx(expected, abs=2e-4)
    assert frequencies(SCORES[turned], **options) == pytest.approx(
        [expected[position] for position in turned], abs=2e-4
    )


@pytest.mark.parametrize("sharp", [0.05, 3.0])
def test_nucleus_is_exact_for_any_size(sharp):
    scores = sharp * torch.randn(2000, generator=torch.Generator().manual_seed(0))
    falling = scores.softmax(-1).sort(descending=True)
    held = int((falling.values.cumsum(0) < 0.6).sum()) + 1
    assert (held > 512) == (sharp < 1)
    sampled = {token for token, share in enumerate(frequencies(scores, rows=8000, top_p=0.6)) if share}
    assert sampled <= set(falling.indices[:held].tolist())
    assert len(sampled) > 0.95 * held


def test_forbidden_tokens_are_never_sampled():
    scores = torch.full((4, 1000), -math.inf)
    scores[:, 500] = -40.0
    tokens = draw(scores, torch.tensor([0.0, 0.5, 0.9, 1 - 2**-23]), decoding=Decoding(method="sample"))
    assert tokens.tolist() == [500] * 4


def test_a_forbidden_token_is_not_sampled_where_parallel_sums_fall(monkeypatch):
    scores = SCORES.repeat(4, 1)
    scores[:, 0] = -math.inf
    numbers, how = torch.tensor([0.0, 0.3, 0.6, 0.99]), Decoding(method="sample")
    expected = draw(scores, numbers, decoding=how).tolist()
    assert expected[0] == 1
    monkeypatch.setattr("torch.searchsorted", lambda sums, mark, right: torch.zeros_like(mark, dtype=torch.long))
    assert draw(scores, numbers, decoding=how).tolist() == expected
