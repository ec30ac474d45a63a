"""Writing a text token by token, for decoders that score the next token: greedily, by a beam search, or by drawing.

Imports torch, so `vsr_cli.api` itself does not import it: a decoder's heavy module does. Shapes: B stories, R rows of
which each writes a text (B, or B * beams), T tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .contracts import Context
from .decoding import Decoding
from .vocabulary import Vocabulary

State = tuple[Tensor, ...]
"""What a decoder remembers: tensors whose first dimension is the rows."""
NEVER = float("-inf")
LIKELIEST = 512
"""How many tokens are looked at first for those that hold the probability `top_p`."""


class Step(Protocol):
    """A decoder's step from one token to the scores of the next."""

    def __call__(self, tokens: Tensor, state: State, fixed: State) -> tuple[Tensor, State]:
        """Return scores (R, V) of what follows `tokens` (R,), and the state after them.

        Scores may be anything whose softmax is meant; they are written over. `fixed` is as it was given to `write`,
        with a row for each row.
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
    """Write a text a story: ids (B, length), up to eos, then padding.

    `state` is what a decoder remembers before the first token, `fixed` what it reads and never changes; each has a row
    for each story, and either may be empty. Padding and bos are never written before eos: no target holds them there.
    """
    pen = _Pen(step, fixed, vocabulary, decoding.no_repeat_ngram)
    padding = torch.full((len(context.mask), length), vocabulary.pad, device=context.mask.device)
    if decoding.method == "beam":
        return _search(pen, state, padding, decoding=decoding)
    numbers = uniform_numbers(context, seed=decoding.seed, count=length) if decoding.method == "sample" else None
    return _write_once(pen, state, padding, numbers, decoding=decoding)


class _Pen:
    """A decoder's step, with what must not be written taken out of its scores."""

    def __init__(self, step: Step, fixed: State, vocabulary: Vocabulary, no_repeat_ngram: int) -> None:
        self.step, self.fixed, self.vocabulary = step, fixed, vocabulary
        self.no_repeat_ngram = no_repeat_ngram

    def log_probabilities(self, tokens: Tensor, state: State, written: Tensor) -> tuple[Tensor, State]:
        """Return the log-probabilities (R, V) of what may follow tokens (R,), the last of `written` (R, t) or bos.

        What may not be written has none; what it had is not shared out among the rest.
        """
        scores, state = self.step(tokens, state, self.fixed)
        scores = scores.float()
        scores[:, [self.vocabulary.pad, self.vocabulary.bos]] = NEVER
        scores = scores.log_softmax(dim=-1)
        if self.no_repeat_ngram:
            forbid_repeats(scores, written, length=self.no_repeat_ngram)
        return scores, state


def _write_once(pen: _Pen, state: State, written: Tensor, numbers: Tensor | None, *, decoding: Decoding) -> Tensor:
    """Write a text a story over padding (B, length) and take no word back: the likeliest, or drawn by the numbers
    (B, length)."""
    (stories, length), device = written.shape, written.device
    token = torch.full((stories,), pen.vocabulary.bos, device=device)
    ended = torch.zeros(stories, dtype=torch.bool, device=device)
    for place in range(length):
        scores, state = pen.log_probabilities(token, state, written[:, :place])
        if numbers is None:
            token = scores.argmax(dim=-1)  # (B, V) -> (B,)
        else:
            token = draw(scores, numbers[:, place].to(device), decoding=decoding)
        token = token.masked_fill(ended, pen.vocabulary.pad)
        written[:, place] = token
        ended |= token == pen.vocabulary.eos
        if ended.all():
            break
    return written


def _search(pen: _Pen, state: State, padding: Tensor, *, decoding: Decoding) -> Tensor:
    """Search for the text of the highest log-probability over length ** length_penalty, keeping k unfinished ones.

    A text has ended if it is among the k best when eos is put to it; a story is done once k have ended, or its texts
    are as long as may be. That is the search of the transformers library with early stopping. With k = 1 it is greedy,
    and with a k that no place exhausts it looks at every text.
    """
    (stories, length), device = padding.shape, padding.device
    k, eos = decoding.beams, pen.vocabulary.eos
    rows = torch.arange(stories, device=device).repeat_interleave(k)  # (R,), the story of each
    state, pen.fixed = _taken(state, rows), _taken(pen.fixed, rows)
    first_rows = k * torch.arange(stories, device=device)[:, None]  # (B, 1)
    token = torch.full((stories * k,), pen.vocabulary.bos, device=device)
    texts = padding[:, None].repeat(1, k, 1)  # (B, k, length)
    sums = torch.full((stories, k), NEVER, device=device)  # of the log-probabilities of each unfinished text
    sums[:, 0] = 0  # at first all are the same text
    ended, ended_scores = texts, torch.full_like(sums, NEVER)
    done = torch.zeros(stories, dtype=torch.bool, device=device)
    among_best = torch.arange(2 * k, device=device) < k
    for place in range(length):
        scores, state = pen.log_probabilities(token, state, texts.flatten(0, 1)[:, :place])
        size = scores.shape[-1]
        longer = (sums[..., None] + scores.view(stories, k, size)).flatten(1)  # (B, k * V)
        # Each text can end in one way, so that among twice as many there are enough to go on with.
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
    """Return the texts (B, n, T) of texts (B, m, T) whose numbers are chosen (B, n)."""
    return texts.gather(1, chosen[..., None].expand(-1, -1, texts.shape[-1]))


def forbid_repeats(scores: Tensor, written: Tensor, *, length: int) -> None:
    """Write minus infinity into the scores (R, V) of tokens that would end a run of `length` tokens which stands in
    what is written (R, t) already."""
    runs = written.shape[1] - length + 1
    if runs < 1:
        return
    windows = written.unfold(1, length, 1)  # (R, runs, length)
    last = written[:, runs:]  # what a run to come would begin with, (R, length - 1)
    again = (windows[..., :-1] == last[:, None]).all(dim=-1)  # (R, runs)
    scores.scatter_add_(1, windows[..., -1], torch.zeros_like(again, dtype=scores.dtype).masked_fill_(again, NEVER))


def draw(scores: Tensor, numbers: Tensor, *, decoding: Decoding) -> Tensor:
    """Draw a token (R,) from the scores (R, V), by a number in [0, 1) a row: the same numbers draw the same tokens.

    First the temperature, then the top k, then the nucleus (Holtzman et al. 2020, "The Curious Case of Neural Text
    Degeneration"): the fewest likeliest tokens whose probability together reaches `top_p`.
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
    possible = probabilities > 0
    sums = probabilities.cumsum(dim=-1)  # parallel sums may fall by a rounding, hence the largest and not the last
    mark = numbers[:, None] * sums.masked_fill(~possible, 0).amax(dim=-1, keepdim=True)
    return ((sums > mark) & possible).int().argmax(dim=-1)  # the first such


def uniform_numbers(context: Context, *, seed: int, count: int) -> Tensor:
    """Return numbers in [0, 1) for each story, (B, count) on the CPU, that depend on its texts and the seed alone.

    So what is drawn for a story depends neither on the batch it is in nor on what was drawn before: `evaluate` and
    `predict` write the same. Stories of the same four texts have the same numbers.
    """
    real = (context.text_ids + 1) * context.text_mask  # (B, K, L): 0 where there is no token
    ids = real.flatten(1).cpu().numpy().astype(np.uint64)  # (B, K * L)
    with np.errstate(over="ignore"):
        factors = _scrambled(np.arange(ids.shape[1], dtype=np.uint64) + np.uint64(seed)) | np.uint64(1)
        stories = _scrambled((ids * factors).sum(axis=1, dtype=np.uint64) + np.uint64(seed))  # (B,)
        places = _scrambled(np.arange(count, dtype=np.uint64))
        numbers = _scrambled(stories[:, None] ^ places)  # (B, count)
    # 23 bits: a product with such a number below 1 is never rounded up to the other factor.
    return torch.from_numpy((numbers >> np.uint64(41)).astype(np.float32) / np.float32(2**23))


def _scrambled(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers one by one: SplitMix64 of Steele et al. (2014), "Fast Splittable Pseudorandom ..."."""
    numbers = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
