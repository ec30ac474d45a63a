"""Text generation for decoders that score the next token: greedy decoding, beam search and sampling.

Imports torch, so `vsr_cli.api` itself does not import it. Shapes: B stories, R rows that each generate a text (B, or
B * beams), T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .contracts import Context
from .decoding import Decoding
from .vocabulary import Vocabulary

State = tuple[Tensor, ...]
"""The state of a decoder: tensors whose first dimension is rows."""
NEVER = float("-inf")
LEFT_OUT = 0.25
"""The share of ended texts from which on they are left out of the computation."""
DRAWN_TOGETHER = 256
"""Rows for which tokens are drawn at once: of more, the probabilities of a large vocabulary would take gigabytes."""
LIKELIEST = 512
"""Tokens that are searched first for the nucleus of `top_p`."""


class Step(Protocol):
    """The step of a decoder from one token to the scores of the next."""

    def __call__(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        """Return scores (R, V) of the tokens after `tokens` (R,), and the new state.

        Scores are logits, and are overwritten. `fixed` is that of `write`, with one entry per row.
        """
        ...


@torch.no_grad()
def write(
    step: Step,
    state: State,
    *,
    fixed: State = (),
    context: Context,
    vocabulary: Vocabulary,
    length: int,
    decoding: Decoding,
) -> Tensor:
    """Generate a text per story: ids (B, length), up to eos, then padding.

    `state` is the state before the first token, `fixed` what the step reads and never changes; both have one entry per
    story, and may be empty. Special tokens other than eos are never generated.
    """
    assert decoding.method != "mbr", "minimum Bayes risk decoding samples texts, and selects one of them elsewhere"
    scorer = _Scorer(step, fixed, vocabulary, decoding.no_repeat_ngram)
    padding = torch.full((len(context.mask), length), vocabulary.pad, device=context.mask.device)
    if decoding.method == "beam":
        return _search(scorer, state, padding, decoding=decoding)
    numbers = uniform_numbers(context, seed=decoding.seed, count=length) if decoding.method == "sample" else None
    return _write_in_order(scorer, state, padding, numbers, decoding=decoding)


@torch.no_grad()
def write_samples(
    step: Step,
    state: State,
    *,
    fixed: State = (),
    context: Context,
    vocabulary: Vocabulary,
    length: int,
    decodings: Sequence[Decoding],
) -> Tensor:
    """Sample a text per story and decoding, all together: ids (B, S, length).

    Each is what `write` samples by its decoding; they may differ in their random seeds alone. In `state` and `fixed`,
    which have one entry per story, the samples of a story become neighbors.
    """
    stories, device = len(context.mask), context.mask.device
    rows = torch.arange(stories, device=device).repeat_interleave(len(decodings))
    numbers = torch.stack([uniform_numbers(context, seed=each.seed, count=length) for each in decodings], dim=1)
    padding = torch.full((len(rows), length), vocabulary.pad, device=device)
    scorer = _Scorer(step, _taken(fixed, rows), vocabulary, decodings[0].no_repeat_ngram)
    written = _write_in_order(scorer, _taken(state, rows), padding, numbers.flatten(0, 1), decoding=decodings[0])
    return written.view(stories, len(decodings), length)


class _Scorer:
    """The step of a decoder with forbidden tokens removed from its scores."""

    def __init__(self, step: Step, fixed: State, vocabulary: Vocabulary, no_repeat_ngram: int) -> None:
        self.step, self.fixed, self.vocabulary = step, fixed, vocabulary
        self.no_repeat_ngram = no_repeat_ngram
        self._never: Tensor | None = None  # known once the number of scores is

    def log_probabilities(self, tokens: Tensor, state: State, written: Tensor) -> tuple[Tensor, State]:
        """Return log-probabilities (R, V) of the tokens after `tokens` (R,), the last of `written` (R, t) or bos.

        Tokens that would repeat an n-gram get -inf, without renormalization.
        """
        scores, state = self.step(tokens, state, self.fixed)
        scores = scores.float()
        if self._never is None:
            # A tokenizer may have special tokens that the model knows nothing of.
            never = [token for token in self.vocabulary.never_generated if token < scores.shape[-1]]
            self._never = torch.tensor(never, dtype=torch.long, device=scores.device)
        scores.index_fill_(1, self._never, NEVER)
        scores = scores.log_softmax(dim=-1)
        if self.no_repeat_ngram:
            forbid_repeats(scores, written, length=self.no_repeat_ngram)
        return scores, state


def _write_in_order(
    scorer: _Scorer, state: State, written: Tensor, numbers: Tensor | None, *, decoding: Decoding
) -> Tensor:
    """Generate a text per row into padding (R, length): greedily, or sampled by the numbers (R, length)."""
    (rows, length), device = written.shape, written.device
    token = torch.full((rows,), scorer.vocabulary.bos, device=device)
    numbers = None if numbers is None else numbers.to(device)
    active = torch.arange(rows, device=device)  # the rows that are still computed
    ended = torch.zeros(rows, dtype=torch.bool, device=device)  # of the active ones
    for place in range(length):
        scores, state = scorer.log_probabilities(token, state, written[active, :place])
        # (R, V) -> (R,)
        token = scores.argmax(dim=-1) if numbers is None else _drawn(scores, numbers[:, place], decoding)
        token = token.masked_fill(ended, scorer.vocabulary.pad)
        written[active, place] = token
        ended |= token == scorer.vocabulary.eos
        if ended.all():
            break
        if ended.sum() >= LEFT_OUT * len(ended):
            going = (~ended).nonzero()[:, 0]
            token, active, ended = token[going], active[going], ended[going]
            state, scorer.fixed = _taken(state, going), _taken(scorer.fixed, going)
            numbers = None if numbers is None else numbers[going]
    return written


def _drawn(scores: Tensor, numbers: Tensor, decoding: Decoding) -> Tensor:
    parts = [slice(start, start + DRAWN_TOGETHER) for start in range(0, len(scores), DRAWN_TOGETHER)]
    return torch.cat([draw(scores[part], numbers[part], decoding=decoding) for part in parts])


def _search(scorer: _Scorer, state: State, padding: Tensor, *, decoding: Decoding) -> Tensor:
    """Search for the text of the highest log-probability over length ** length_penalty, with k beams.

    The beam search of transformers with early stopping: a text ends if it is among the k best with eos added, and a
    story is done once k texts have ended or reached the length. With k = 1 it is greedy decoding.
    """
    (stories, length), device = padding.shape, padding.device
    k, eos = decoding.beams, scorer.vocabulary.eos
    rows = torch.arange(stories, device=device).repeat_interleave(k)  # (R,), the story of each
    state, scorer.fixed = _taken(state, rows), _taken(scorer.fixed, rows)
    first_rows = k * torch.arange(stories, device=device)[:, None]  # (B, 1)
    token = torch.full((stories * k,), scorer.vocabulary.bos, device=device)
    texts = padding[:, None].repeat(1, k, 1)  # (B, k, length)
    sums = torch.full((stories, k), NEVER, device=device)  # of the log-probabilities of each unfinished text
    sums[:, 0] = 0  # at first all are the same text
    ended, ended_scores = texts, torch.full_like(sums, NEVER)
    done = torch.zeros(stories, dtype=torch.bool, device=device)
    among_best = torch.arange(2 * k, device=device) < k
    for place in range(length):
        scores, state = scorer.log_probabilities(token, state, texts.flatten(0, 1)[:, :place])
        size = scores.shape[-1]
        longer = (sums[..., None] + scores.view(stories, k, size)).flatten(1)  # (B, k * V)
        # Each text has one way to end, so k of 2k candidates continue.
        candidate_sums, index = longer.topk(2 * k)  # (B, 2k)
        parents, tokens = index // size, index % size
        candidates = _rows_of(texts, parents)  # (B, 2k, length)
        candidates[..., place] = tokens
        ends = tokens == eos
        ending = ends & among_best & ~done[:, None]
        found = (candidate_sums / (place + 1) ** decoding.length_penalty).masked_fill(~ending, NEVER)
        ended_scores, best = torch.cat([ended_scores, found], dim=1).topk(k)  # (B, 3k) -> (B, k)
        ended = _rows_of(torch.cat([ended, candidates], dim=1), best)
        sums, best = candidate_sums.masked_fill(ends, NEVER).topk(k)  # (B, 2k) -> (B, k)
        texts = _rows_of(candidates, best)
        done |= (ended_scores[:, -1] > NEVER) | (sums[:, 0] == NEVER)
        if done.all():
            break
        token = tokens.gather(1, best).flatten()  # (R,)
        state = _taken(state, (first_rows + parents.gather(1, best)).flatten())
    unfinished = (sums / length**decoding.length_penalty).masked_fill(done[:, None], NEVER)
    best = torch.cat([ended_scores, unfinished], dim=1).argmax(dim=1, keepdim=True)  # (B, 2k) -> (B, 1)
    return _rows_of(torch.cat([ended, texts], dim=1), best)[:, 0]


def _taken(state: State, rows: Tensor) -> State:
    return tuple(tensor.index_select(0, rows) for tensor in state)


def _rows_of(texts: Tensor, chosen: Tensor) -> Tensor:
    """Return the texts (B, n, T) with indices `chosen` (B, n) of texts (B, m, T)."""
    return texts.gather(1, chosen[..., None].expand(-1, -1, texts.shape[-1]))


def forbid_repeats(scores: Tensor, written: Tensor, *, length: int) -> None:
    """Set scores (R, V) to -inf for tokens that would repeat an n-gram of `length` tokens of the text (R, t)."""
    runs = written.shape[1] - length + 1
    if runs < 1:
        return
    windows = written.unfold(1, length, 1)  # (R, runs, length)
    last = written[:, runs:]  # what a run to come would begin with, (R, length - 1)
    again = (windows[..., :-1] == last[:, None]).all(dim=-1)  # (R, runs)
    scores.scatter_add_(1, windows[..., -1], torch.zeros_like(again, dtype=scores.dtype).masked_fill_(again, NEVER))


def draw(scores: Tensor, numbers: Tensor, *, decoding: Decoding) -> Tensor:
    """Sample a token (R,) from scores (R, V) by one number in [0, 1) per row: equal numbers give equal tokens.

    Temperature, then top k, then nucleus sampling (Holtzman et al. 2020, "The Curious Case of Neural Text
    Degeneration"): the fewest likeliest tokens with total probability `top_p`.
    """
    scores = scores / decoding.temperature
    if 0 < decoding.top_k < scores.shape[-1]:
        likeliest, tokens = scores.topk(decoding.top_k)  # (R, k)
        scores = torch.full_like(scores, NEVER).scatter_(1, tokens, likeliest)
    probabilities = scores.softmax(dim=-1)
    if decoding.top_p < 1:
        falling, tokens = probabilities.topk(min(LIKELIEST, probabilities.shape[-1]))
        if (falling.sum(dim=-1) < decoding.top_p).any():  # rarely: sorting them all would take most of the time
            falling, tokens = probabilities.sort(dim=-1, descending=True)
        likelier = falling.cumsum(dim=-1) - falling  # the probability of all that is likelier
        falling = falling.masked_fill(likelier >= decoding.top_p, 0)
        probabilities = torch.zeros_like(probabilities).scatter_(1, tokens, falling)
    sums = probabilities.cumsum(dim=-1)
    # Parallel sums may fall by a rounding, and then this search is not exact: hence the largest and not the last.
    mark = numbers[:, None] * sums.amax(dim=-1, keepdim=True)
    token = torch.searchsorted(sums, mark, right=True).clamp_(max=sums.shape[-1] - 1)  # (R, 1)
    if not (probabilities.gather(1, token) > 0).all():
        token = ((sums > mark) & (probabilities > 0)).byte().argmax(dim=-1, keepdim=True)
    return token[:, 0]


def uniform_numbers(context: Context, *, seed: int, count: int) -> Tensor:
    """Return numbers in [0, 1) for each story, (B, count) on the CPU, that depend on its texts and the seed only.

    So samples depend neither on the batch nor on earlier samples, and `evaluate` and `predict` agree. Stories with the
    same texts get the same numbers.
    """
    numbers = torch.empty(len(context.mask), count)
    for row, generator in zip(numbers, _generators(context, seed), strict=True):
        # 23 bits: the product of such a number and a float32 is never rounded up to that float32.
        row.copy_(torch.randint(2**23, (count,), generator=generator) / 2**23)
    return numbers


def random_generators(context: Context, *, seed: int) -> list[torch.Generator]:
    """Return a CPU generator for each of B stories, for an image decoder that samples.

    Each is seeded from the story's texts and the seed only, so an image does not depend on the rest of the batch. Draw
    on the CPU and move the numbers to the device: the same seed then gives the same image on all devices.
    """
    return list(_generators(context, ("image", seed)))  # other numbers than those that sampled the text


def _generators(context: Context, key: object) -> Iterator[torch.Generator]:
    """Yield a CPU generator for each story, seeded from the key and the tokens of its texts."""
    for ids, mask in zip(context.text_ids.cpu(), context.text_mask.cpu(), strict=True):
        texts = [text[real].tolist() for text, real in zip(ids, mask, strict=True)]  # K lists of token ids
        digest = hashlib.sha256(repr((key, texts)).encode()).digest()
        yield torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
