"""Computing less in a text encoder: without padding, and in the last layer for the first token alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional


def without_padding(rows: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Remove the columns that are padding in all texts, of rows (N, L, *F) and mask (N, L); padding is on the right.

    The rest depends on them only by rounding.
    """
    longest = int(mask.sum(dim=1).max())
    return rows[:, :longest], mask[:, :longest]


def first_state(layer: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's state (N, H) after a layer, from all states (N, L, H) before it and their mask (N, L).

    Keys and values are computed for all tokens; the query, the attention output and the feed-forward network, ten
    twelfths of the cost of a layer, for the first only. The layer is DistilBERT's, or BERT's as copied by the other
    models in `LAYERS`.
    """
    distilled = hasattr(layer, "ffn")
    attention = layer.attention if distilled else layer.attention.self
    names = ("q_lin", "k_lin", "v_lin") if distilled else ("query", "key", "value")
    first = states[:, :1]  # (N, 1, H)
    query, key, value = (
        getattr(attention, name)(read).unflatten(-1, (-1, attention.attention_head_size)).transpose(1, 2)
        for name, read in zip(names, (first, states, states), strict=True)
    )  # (N, heads, 1 or L, H / heads)
    read = functional.scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=mask[:, None, None],  # (N, 1, 1, L)
        dropout_p=attention.dropout.p if attention.training else 0.0,
        scale=attention.scaling,
    )
    read = read.transpose(1, 2).flatten(2)  # -> (N, 1, H)
    if distilled:
        attended = layer.sa_layer_norm(attention.out_lin(read) + first)
        after: Tensor = layer.output_layer_norm(layer.ffn(attended) + attended)
    else:
        after = layer.feed_forward_chunk(layer.attention.output(read, first))
    return after[:, 0]
