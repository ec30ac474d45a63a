"""Attention of a model of transformers whose query heads share key-value heads, without a copy for each on a CPU.

Where several texts continue one context, there is a mask, and transformers repeats the cached keys and values for all
heads at each step, which took six times as long as the attention itself. It does so because PyTorch's fast kernels for
GPUs do not take a mask and shared heads together.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME, PLAIN = "vsr_grouped", "sdpa"
"""Of this attention and of PyTorch's, which it is everywhere else, among the implementations of transformers."""


def share_heads(model: PreTrainedModel) -> None:
    """Let a model use this attention, if it uses PyTorch's and its heads share keys and values."""
    config = model.config.get_text_config()
    heads, shared = (getattr(config, name, None) for name in ("num_attention_heads", "num_key_value_heads"))
    if config._attn_implementation == PLAIN and heads and shared and shared < heads:
        AttentionInterface.register(NAME, attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """Return (B, S, H, d) from queries (B, H, S, d), keys and values (B, G, P, d): H / G query heads share one of G."""
    plain = options.get("position_bias") is None and options.get("softcap") is None
    several = query.shape[2] > 1  # transformers copies nothing for a single one
    if not (plain and several and attention_mask is not None and query.device.type == "cpu"):
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
