"""Text encoders `distilbert` and `hf-text`: encoders of transformers, frozen up to a layer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, PreTrainedModel
from transformers.masking_utils import create_bidirectional_mask

from vsr_cli.api import BuildContext, TokenBatch, Vocabulary, VsrError, content_key, refuse_foreign_code

from . import HfTextOptions
from .pretrained_loading import LAYERS, check, from_config, load_pretrained, longest_input
from .pretrained_reading import SIGLIPS, Reading, in_windows
from .pretrained_vocabulary import added_to

TOKENIZER = "tokenizer.json"
SPECIAL_IDS = "special_ids.json"
SMALLEST_SCALE = 1e-8
"""Added to the variance in the normalization, as embeddings may be small."""


class TransformersEncoder(nn.Module):
    """A pretrained encoder split at the freeze boundary, pooling, and a linear layer.

    `lower` is the model without the layers above the boundary, which are `upper`. If nothing is frozen, `lower` is the
    whole model and trains. A model that is not split reads a text longer than its window in several windows.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        reading: Reading,
        *,
        options: HfTextOptions,
        width: int,
    ) -> None:
        super().__init__()
        self.config = cast(Any, model.config)
        self.vocabulary = vocabulary
        self.length = options.length
        self.reading = reading
        self.pooling = reading.pooling
        self.window = min(most for most in (self.length, reading.window, longest_input(model)) if most)
        self.reads_padding = self.config.model_type in SIGLIPS
        self.padded = longest_input(model) or 0 if self.reads_padding else 0
        added = added_to(vocabulary)
        self.first = [] if self.reads_padding or vocabulary.bos in added else [vocabulary.bos]
        # Matters only for models that read padding; eos if they have no padding token.
        self.filler = vocabulary.eos if vocabulary.pad in added else vocabulary.pad
        self.trains_whole = options.frozen_layers == 0
        self.lower = model
        self.upper = nn.ModuleList()
        if isinstance(options.frozen_layers, int) and not self.trains_whole:
            stack = getattr(model, LAYERS[self.config.model_type])
            self.upper = stack.layer[options.frozen_layers :]
            stack.layer = stack.layer[: options.frozen_layers]
        if not self.trains_whole:
            self.lower.requires_grad_(False).train(False)
        self.spread = options.layers == "spread"
        self.projection = nn.Linear(self.config.hidden_size * (3 if self.spread else 1), width)

    @property
    def cache_key(self) -> str | None:
        """Return a digest of the frozen weights, the structure, the tokenizer and the length."""
        if self.trains_whole:
            return None
        structure = {
            name: value
            for name, value in sorted(self.config.to_dict().items())
            # Fields that do not affect the computation.
            if name not in {"_name_or_path", "architectures", "dtype", "transformers_version"}
        }
        return content_key(
            self.lower.state_dict(),
            structure=structure,
            tokenizer=hashlib.sha256(self.vocabulary.tokenizer.to_str().encode()).hexdigest(),
            special_names="text",  # special tokens written in a text are text
            special_ids=(self.vocabulary.pad, self.vocabulary.bos, self.vocabulary.eos),
            length=self.length,
            window=self.window,
            boundary="states" if len(self.upper) else f"{self.pooling}, spread" if self.spread else self.pooling,
        )

    def train(self, mode: bool = True) -> TransformersEncoder:
        """Set the mode of what trains; frozen layers have no dropout."""
        super().train(mode)
        if not self.trains_whole:
            self.lower.train(False)
        return self

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return ids and mask (N, length)."""
        return self.vocabulary.encode(texts, length=self.length)

    def frozen(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the states at the freeze boundary (N, L, H), 0 at padding, from ids and mask (N, L).

        With every layer frozen, returns the pooled states (N, H) or (N, 3 * H); with nothing frozen, the ids.
        """
        if self.trains_whole:
            return ids
        length = ids.shape[1]
        with torch.no_grad():
            ids, mask = without_padding(ids, mask)
            if not len(self.upper):
                return self._read(ids, mask)
            states = self._lower_states(ids, mask)
            return functional.pad(states, (0, 0, 0, length - states.shape[1]))

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return (N, D) from what `frozen` returned and the mask (N, L)."""
        if self.trains_whole:
            pooled = self._read(*without_padding(features, mask))
        elif len(self.upper):
            pooled = self._upper_pooled(*without_padding(features, mask))
        else:
            pooled = features
        embedding: Tensor = self.projection(pooled)  # (N, H) -> (N, D)
        return embedding

    def graph_form(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return embeddings (N, D) of texts (N, L) that fit into one window, with all of the padding."""
        if self.reads_padding or self.window < self.length:
            raise VsrError(
                f"it reads a text of {self.length} tokens in windows of {self.window}; train with "
                f"--set text.length={self.window}"
            )
        if self.trains_whole or not len(self.upper):
            pooled = self._vectors(ids, mask)
        else:
            pooled = self._upper_pooled(self._lower_states(ids, mask), mask)
        embedding: Tensor = self.projection(pooled)
        return embedding

    def save_assets(self, folder: Path) -> None:
        """Write the configuration, the pooling, the tokenizer and the ids of its special tokens."""
        self.config.save_pretrained(folder)
        self.reading.save(folder)
        self.vocabulary.save(folder / TOKENIZER)
        ids = {name: getattr(self.vocabulary, name) for name in ("pad", "bos", "eos")}
        (folder / SPECIAL_IDS).write_text(json.dumps(ids), encoding="utf-8")

    def _read(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return pooled states of texts by their tokens (N, L): the mean over windows, weighted by their tokens."""
        windows: list[list[int]] = []
        counts: list[list[int]] = []  # tokens in each window of each text
        for row, length in zip(ids.tolist(), mask.sum(1).tolist(), strict=True):
            parts = in_windows(row[1 : length - 1], room=self.window - len(self.first) - 1)
            windows += [[*self.first, *part, self.vocabulary.eos] for part in parts]
            counts.append([max(1, len(part)) for part in parts])
        longest = max(self.padded, *map(len, windows))
        filled = [[*window, *[self.filler] * (longest - len(window))] for window in windows]
        lengths = torch.tensor([len(window) for window in windows], device=ids.device)
        window_mask = torch.arange(longest, device=ids.device) < lengths[:, None]  # (M, W)
        pooled = self._vectors(torch.tensor(filled, device=ids.device), window_mask)
        if len(windows) == len(counts):
            return pooled
        parts_of = pooled.tensor_split(list(accumulate(map(len, counts)))[:-1])
        weights = [pooled.new_tensor(count).unsqueeze(1) / sum(count) for count in counts]
        return torch.stack([(part * weight).sum(0) for part, weight in zip(parts_of, weights, strict=True)])

    def _vectors(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled last states (N, H) of windows (N, L); or of three depths, each normalised, (N, 3 * H)."""
        if not self.spread:
            return self._pool(self._lower_states(ids, mask), mask)
        output = self._lower_output(ids, mask, every_layer=True)
        first, *between, _ = output.hidden_states  # of the embeddings, and after each layer, (N, L, H)
        middle = between[(len(between) - 1) // 2] if between else first
        pooled = [self._pool(states, mask) for states in (first, middle, output.last_hidden_state)]
        return torch.cat([functional.layer_norm(part, part.shape[1:], eps=SMALLEST_SCALE) for part in pooled], dim=1)

    def _lower_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = self._lower_output(ids, mask).last_hidden_state  # (N, L) -> (N, L, H)
        return states if self.reads_padding else states.masked_fill(~mask[..., None], 0.0)

    def _lower_output(self, ids: Tensor, mask: Tensor, *, every_layer: bool = False) -> Any:
        seen = None if self.reads_padding else mask.long()
        return self.lower(input_ids=ids, attention_mask=seen, output_hidden_states=every_layer)

    def _upper_pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled states (N, H) of the upper layers from the states (N, L, H) below them."""
        # The mask of the model's own forward pass.
        attention = create_bidirectional_mask(self.config, states, mask.long())
        *layers, last = self.upper
        for layer in layers:
            states = layer(states, attention)  # (N, L, H)
        if self.pooling == "cls":
            return first_state(last, states, mask)
        return self._pool(last(states, attention), mask)

    def _pool(self, states: Tensor, mask: Tensor) -> Tensor:
        if self.pooling == "cls":
            return states[:, 0]  # (N, L, H) -> (N, H)
        if self.pooling == "last":
            if self.reads_padding:
                return states[:, -1]  # (N, L, H) -> (N, H)
            return states[torch.arange(len(states), device=states.device), mask.sum(1) - 1]  # (N, L, H) -> (N, H)
        real = mask[..., None].to(states.dtype)  # (N, L, 1)
        return (states * real).sum(1) / real.sum(1).clamp(min=1)  # (N, L, H) -> (N, H)


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


def build(options: HfTextOptions, context: BuildContext) -> TransformersEncoder:
    """Build the encoder from a Hub id or folder, or its architecture from the assets of a run.

    Raises VsrError if loading the model or tokenizer fails, or if the options do not fit the model.
    """
    if context.assets is not None:
        ids = json.loads((context.assets / SPECIAL_IDS).read_text(encoding="utf-8"))
        vocabulary = Vocabulary(tokenizer=Tokenizer.from_file(str(context.assets / TOKENIZER)), **ids)
        refuse_foreign_code(context.assets)
        model = from_config(AutoConfig.from_pretrained(context.assets, local_files_only=True, trust_remote_code=False))
        reading = Reading.load(context.assets, options)
    else:
        model, vocabulary, reading = load_pretrained(options)
    check(model, vocabulary, reading, options=options)
    return TransformersEncoder(model, vocabulary, reading, options=options, width=context.width)
