"""Attention of a model of transformers where several texts continue one context, or query heads share keys and values.

Each text attends to the keys and values of its context, which are stored once, and to its own. On a CPU, heads that
share keys and values get no copy of them: transformers repeats them for all heads where there is a mask, which took six
times as long as the attention itself. It does so because PyTorch's fast kernels for GPUs do not take both together.

Shapes: B contexts, R texts, C texts of a context at most, H query heads, G heads of keys and values, L positions of a
context, t tokens that a text has so far, d width of a head, S and P positions of queries and of keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME, PLAIN = "vsr_shared", "sdpa"
"""Of this attention and of PyTorch's, which it is everywhere else, among the implementations of transformers."""
CONTEXT = "vsr_context"
"""The attribute of the keys of texts' own tokens that holds the context they continue."""
OTHER_SCORES = ("position_bias", "softcap", "s_aux")
"""Options of attention by which scores are more than products."""


@dataclass(frozen=True)
class Places:
    """Where each of R texts is: the number of its `context` (R,), its `index` among the texts of it (R,), both from 0.

    The texts of a context are neighbors; `first` (B,) are the first ones, and `texts` is C.
    """

    context: Tensor
    index: Tensor
    first: Tensor
    texts: int

    @classmethod
    def of(cls, context: Tensor, count: Tensor) -> Places:
        """Return the places of texts with a `context` (R,), of which each has `count` (B,)."""
        first = count.cumsum(0) - count
        index = torch.arange(len(context), device=context.device) - first[context]
        return cls(context, index, first, int(count.max()))

    @property
    def all_alike(self) -> bool:
        """Whether all contexts have the same number of texts."""
        return len(self.context) == len(self.first) * self.texts

    def spread(self, values: Tensor) -> Tensor:
        """Return values of texts (R, G, q, n) by context, (B, G, C * q, n); zero where a context has fewer."""
        shape = (len(self.first), self.texts, *values.shape[1:])
        if self.all_alike:
            table = values.view(shape)
        else:
            table = values.new_zeros(shape)
            table[self.context, self.index] = values
        return table.transpose(1, 2).flatten(2, 3)

    def collect(self, table: Tensor) -> Tensor:
        """Return values by context (B, G, C * q, n) as those of texts (R, G, q, n): the opposite of `spread`."""
        number, heads, _, width = table.shape
        by_text = table.reshape(number, heads, self.texts, -1, width).transpose(1, 2)  # (B, C, G, q, n)
        return by_text.flatten(0, 1) if self.all_alike else by_text[self.context, self.index]


@dataclass(frozen=True)
class SharedContext:
    """The keys (B, G, L, d) and values of the contexts that texts continue, and the values of their own tokens."""

    keys: Tensor
    values: Tensor
    places: Places
    own_values: Tensor


def share(model: PreTrainedModel) -> None:
    """Let a model use this attention, if it uses PyTorch's and its implementation can be chosen."""
    if model.config.get_text_config()._attn_implementation == PLAIN and model._can_set_attn_implementation():
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def is_shared(model: PreTrainedModel) -> bool:
    """Whether a model uses this attention."""
    return bool(model.config.get_text_config()._attn_implementation == NAME)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return (B, S, H, d) from queries (B, H, S, d), keys and values (B, G, P, d): H / G query heads share one of G.

    Keys with a `SharedContext` are those of texts' own tokens, (R, G, t, d), with queries (R, H, 1, d) and a mask
    (R, 1, 1, L + t) that is added to scores. Raises ValueError for them if scores are more than products, or if values
    are not those that were cached.
    """
    plain = all(options.get(name) is None for name in OTHER_SCORES)
    context: SharedContext | None = getattr(key, CONTEXT, None)
    if context is not None:
        if not plain or attention_mask is None or value is not context.own_values:
            raise ValueError("the context of these texts cannot be shared")
        return _of_texts(query, key, value, attention_mask, context, scale=options.get("scaling")), None
    masked = query.shape[2] > 1 and attention_mask is not None  # transformers copies nothing for a single query
    if not (plain and masked and query.shape[1] > key.shape[1] and query.device.type == "cpu"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    output = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=options.get("dropout", 0.0),
        scale=options.get("scaling"),
        enable_gqa=True,
    )
    return output.transpose(1, 2).contiguous(), None


def _of_texts(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, context: SharedContext, *, scale: float | None
) -> Tensor:
    """Return (R, 1, H, d): the softmax is over the context and a text's own tokens together."""
    places, heads, length = context.places, key.shape[1], context.keys.shape[2]
    query = query * (query.shape[-1] ** -0.5 if scale is None else scale)
    query = query.reshape(len(query), heads, -1, query.shape[-1])  # (R, G, H / G, d)
    of_context = places.spread(query) @ context.keys.mT  # (B, G, C * H / G, L)
    own = places.spread(query @ key.mT)  # (B, G, C * H / G, t)
    scores = torch.cat([of_context, own], dim=-1).float().add_(mask[places.first])  # texts of a context share a mask
    weights = scores.softmax(dim=-1).to(value.dtype)
    of_context, own = weights[..., :length], places.collect(weights[..., length:])
    output = places.collect(of_context @ context.values) + own @ value  # (R, G, H / G, d)
    return output.flatten(1, 2)[:, None]
