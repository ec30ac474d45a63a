"""How much two texts have in common, by their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

RECALL_WEIGHT = 0.9
"""Of recall in METEOR's mean (Banerjee and Lavie, 2005)."""


def overlap(ours: Tensor, theirs: Tensor, *, pad: int) -> tuple[Tensor, Tensor]:
    """Return of pairs of padded texts (N, T) and (N, S) two scores (N,) each, from 0 to 1.

    The first is ROUGE-L's, the F1 of the longest common subsequence; the second METEOR's mean of precision and recall,
    without its penalty: both on tokens, with neither stems nor synonyms. Texts that are empty have nothing in common.
    """
    return _scores(*_in_common(ours, theirs, pad), (ours != pad).sum(1), (theirs != pad).sum(1))


def overlaps(texts: Tensor, *, pad: int) -> tuple[Tensor, Tensor]:
    """Return both scores of each of K texts (B, K, T) with each other one, (B, K, K); 0 with itself.

    What two texts have in common is the same both ways, so that it is looked for once.
    """
    batch, count, width = texts.shape
    one, other = torch.triu_indices(count, count, offset=1, device=texts.device)  # (pairs,) each
    found = _in_common(texts[:, one].reshape(-1, width), texts[:, other].reshape(-1, width), pad)
    common = []
    for each in found:
        both_ways = each.new_zeros(batch, count, count)
        both_ways[:, one, other] = both_ways[:, other, one] = each.reshape(batch, -1)
        common.append(both_ways)
    length = (texts != pad).sum(2)  # (B, K)
    return _scores(common[0], common[1], length[:, :, None], length[:, None])


def rhythm(scores: Tensor, real: Tensor) -> Tensor:
    """Return of each text of a context how well texts agree that stand as far apart as it and the next one, (B, K).

    From the scores of each text with each other (B, K, K), and which are real (B, K): the real ones stand first. Where
    no two texts stand so far apart, it is the mean over the distances at which some do; 0 where there is but one text.
    """
    steps = real.shape[1]
    if steps == 1:
        return scores.new_zeros(real.shape)
    both = real[:, :, None] & real[:, None]
    pairs = [both.diagonal(offset=apart, dim1=1, dim2=2).sum(1) for apart in range(1, steps)]
    sums = [(scores * both).diagonal(offset=apart, dim1=1, dim2=2).sum(1) for apart in range(1, steps)]
    count = torch.stack(pairs, dim=1)  # (B, K - 1)
    means = torch.stack(sums, dim=1) / count.clamp(min=1)
    elsewhere = means.sum(1, keepdim=True) / (count > 0).sum(1, keepdim=True).clamp(min=1)  # (B, 1)
    by_distance = torch.cat([torch.where(count > 0, means, elsewhere), elsewhere], dim=1)  # (B, K), of 1 to K apart
    apart = real.sum(1, keepdim=True) - torch.arange(steps, device=real.device)  # (B, K), to the next text
    return by_distance.gather(1, (apart - 1).clamp(min=0))


def _scores(subsequence: Tensor, shared: Tensor, own: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    own, other = own.clamp(min=1), other.clamp(min=1)
    mean = shared / (RECALL_WEIGHT * other + (1 - RECALL_WEIGHT) * own)  # P R / (a P + (1 - a) R)
    return 2 * subsequence / (own + other), mean


def _in_common(ours: Tensor, theirs: Tensor, pad: int) -> tuple[Tensor, Tensor]:
    """Return of pairs of texts the length of their longest common subsequence, and how many tokens they share, (N,)."""
    ours, theirs = ours[:, : _longest(ours, pad)], theirs[:, : max(1, _longest(theirs, pad))]
    return _longest_common_subsequence(ours, theirs, pad), _shared(ours, theirs, pad)


def _longest_common_subsequence(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Return its length, (N,): the usual table, a row for each token of ours, all pairs and places at once."""
    row = torch.zeros(len(theirs), theirs.shape[1] + 1, dtype=torch.int16, device=theirs.device)
    for token in ours.T:  # (N,)
        match = (theirs == token[:, None]) & (token[:, None] != pad)  # (N, S)
        longer = torch.maximum(row[:, 1:], (row[:, :-1] + 1) * match)
        row = torch.cat([row[:, :1], longer], dim=1).cummax(dim=1).values
    return row[:, -1]


def _shared(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Return how many tokens they share, (N,), each as often as it stands in both."""
    left = theirs.clone()
    rows = torch.arange(len(left), device=left.device)
    count = left.new_zeros(len(left))
    for token in ours.T:  # (N,)
        match = (left == token[:, None]) & (token[:, None] != pad)  # (N, S)
        place = match.int().argmax(dim=1)
        found = match[rows, place]
        left[rows, place] = torch.where(found, -1, left[rows, place])  # it counts once
        count += found
    return count


def _longest(texts: Tensor, pad: int) -> int:
    return int((texts != pad).sum(1).max()) if len(texts) else 0
