"""How much two texts have in common, by their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

RECALL_WEIGHT = 0.9
"""Of recall in METEOR's mean (Banerjee and Lavie, 2005)."""


def overlap(ours: Tensor, theirs: Tensor, *, pad: int) -> tuple[Tensor, Tensor]:
    """Give of pairs of padded texts (N, T) and (N, S) two scores (N,) each, from 0 to 1.

    The first is ROUGE-L's, the F1 of the longest common subsequence; the second METEOR's mean of precision and recall,
    without its penalty: both on tokens, with neither stems nor synonyms. Texts that are empty have nothing in common.
    """
    own, other = (ours != pad).sum(1).clamp(min=1), (theirs != pad).sum(1).clamp(min=1)
    f1 = 2 * _longest_common_subsequence(ours, theirs, pad) / (own + other)
    mean = _shared(ours, theirs, pad) / (RECALL_WEIGHT * other + (1 - RECALL_WEIGHT) * own)  # P R / (a P + (1 - a) R)
    return f1, mean


def _longest_common_subsequence(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Give its length, (N,): the usual table, a row for each token of ours, all pairs and places at once."""
    row = torch.zeros(len(theirs), theirs.shape[1] + 1, dtype=torch.int16, device=theirs.device)
    for token in ours[:, : _longest(ours, pad)].T:  # (N,)
        match = (theirs == token[:, None]) & (token[:, None] != pad)  # (N, S)
        longer = torch.maximum(row[:, 1:], (row[:, :-1] + 1) * match)
        row = torch.cat([row[:, :1], longer], dim=1).cummax(dim=1).values
    return row[:, -1]


def _shared(ours: Tensor, theirs: Tensor, pad: int) -> Tensor:
    """Give how many tokens they share, (N,), each as often as it stands in both."""
    left = theirs.clone()
    rows = torch.arange(len(left), device=left.device)
    count = left.new_zeros(len(left))
    for token in ours[:, : _longest(ours, pad)].T:  # (N,)
        match = (left == token[:, None]) & (token[:, None] != pad)  # (N, S)
        place = match.int().argmax(dim=1)
        found = match[rows, place]
        left[rows, place] = torch.where(found, -1, left[rows, place])  # it counts once
        count += found
    return count


def _longest(texts: Tensor, pad: int) -> int:
    return int((texts != pad).sum(1).max()) if len(texts) else 0
