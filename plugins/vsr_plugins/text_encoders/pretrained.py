"""Text encoders `distilbert` and `hf-text`: encoders of transformers, frozen up to a layer.

transformers is imported when a layer is built: that takes two seconds, and training with cached features of a whole
model needs none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import (
    BuildContext,
    FrozenHalf,
    FrozenHalfLater,
    TokenBatch,
    Vocabulary,
    VsrError,
    content_key,
    own_random_numbers,
    refuse_foreign_code,
)

from ..saved_config import config_from, facts_of_config
from . import HfTextOptions
from .pretrained_layers import first_state, without_padding
from .pretrained_loading import LAYERS, check, from_config, load_pretrained, longest_input
from .pretrained_reading import SIGLIPS, Reading, in_windows
from .pretrained_vocabulary import added_to

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
SPECIAL_IDS = "special_ids.json"
SMALLEST_SCALE = 1e-8
"""Added to the variance in the normalization, as embeddings may be small."""


class TransformersEncoder(FrozenHalfLater, nn.Module):
    """A pretrained encoder split at the freeze boundary, pooling, and a linear layer.

    `lower` is the model without the layers above the boundary, which are `upper`. If nothing is frozen, `lower` is the
    whole model and trains. A model that is not split reads a text longer than its window in several windows.

    `model` is None where the frozen half is built later, from the text of the model's configuration.
    """

    half_name = "lower"

    def __init__(
        self,
        model: PreTrainedModel | None,
        vocabulary: Vocabulary,
        reading: Reading,
        *,
        options: HfTextOptions,
        width: int,
        pending: FrozenHalf | None = None,
        saved_config: str | None = None,
    ) -> None:
        super().__init__()
        self.pending = pending
        self._key = pending.cache_key if pending else None
        self._saved_config = saved_config
        self.frozen_facts = facts_of(model) if model is not None else dict(pending.facts) if pending else {}
        self.config = cast(Any, model.config if model is not None else None)
        self.vocabulary = vocabulary
        self.length = options.length
        self.reading = reading
        self.pooling = reading.pooling
        longest: int | None = self.frozen_facts["longest_input"]
        self.window = min(most for most in (self.length, reading.window, longest) if most)
        self.reads_padding = self.frozen_facts["model_type"] in SIGLIPS
        self.padded = longest or 0 if self.reads_padding else 0
        added = added_to(vocabulary)
        self.first = [] if self.reads_padding or vocabulary.bos in added else [vocabulary.bos]
        # Matters only for models that read padding; eos if they have no padding token.
        self.filler = vocabulary.eos if vocabulary.pad in added else vocabulary.pad
        self.trains_whole = options.frozen_layers == 0
        self._frozen_layers = options.frozen_layers
        self.upper = nn.ModuleList()
        if model is not None:
            self.lower = model
            self.upper = self._split(model)
            if not self.trains_whole:
                self.lower.requires_grad_(False).train(False)
        elif pending and pending.facts["split"]:
            self._build_upper(pending)
        self.spread = options.layers == "spread"
        self.projection = nn.Linear(self.frozen_facts["hidden_size"] * (3 if self.spread else 1), width)

    def _split(self, model: PreTrainedModel) -> nn.ModuleList:
        """Remove the layers above the boundary from a model, and return them."""
        if not isinstance(self._frozen_layers, int) or self.trains_whole:
            return nn.ModuleList()
        stack = getattr(model, LAYERS[self.frozen_facts["model_type"]])
        upper: nn.ModuleList = stack.layer[self._frozen_layers :]
        stack.layer = stack.layer[: self._frozen_layers]
        self.frozen_facts["split"] = len(upper) > 0
        return upper

    def _build_upper(self, half: FrozenHalf) -> None:
        """Build the layers above the boundary alone, with their pretrained weights at the start of a training."""
        assert self._saved_config is not None
        self.config = cast(Any, config_from(self._saved_config))
        with torch.device("meta"):
            upper = self._split(from_config(self.config))
        self.upper = upper.to_empty(device="cpu").train()
        if half.initial is not None:
            half.fill(self, half.initial)

    def _make_half(self) -> nn.Module:
        assert self._saved_config is not None
        self.config = cast(Any, config_from(self._saved_config))
        model = from_config(self.config)
        self._split(model)
        model.requires_grad_(False).train(False)
        return model

    @property
    def initial(self) -> dict[str, Tensor]:
        """The tensors of the layers above the boundary."""
        return {f"upper.{name}": tensor for name, tensor in self.upper.state_dict().items()}

    @property
    def cache_key(self) -> str | None:
        """Return a digest of the frozen weights, the structure, the tokenizer and the length."""
        if self.trains_whole:
            return None
        if self._key is not None:
            return self._key
        return content_key(
            self.lower.state_dict(),
            structure=facts_of_config(self.config),
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
        if not self.trains_whole and self.pending is None:
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
        if self._saved_config is not None:
            (folder / CONFIG).write_text(self._saved_config, encoding="utf-8")
        else:
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
        self.build_frozen_half()
        seen = None if self.reads_padding else mask.long()
        return self.lower(input_ids=ids, attention_mask=seen, output_hidden_states=every_layer)

    def _upper_pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled states (N, H) of the upper layers from the states (N, L, H) below them."""
        from transformers.masking_utils import create_bidirectional_mask

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


def build(options: HfTextOptions, context: BuildContext) -> TransformersEncoder:
    """Build the encoder from a Hub id or folder, or its architecture from the assets of a run.

    Raises VsrError if loading the model or tokenizer fails, or if the options do not fit the model.
    """
    if context.assets is not None:
        ids = json.loads((context.assets / SPECIAL_IDS).read_text(encoding="utf-8"))
        vocabulary = Vocabulary(tokenizer=Tokenizer.from_file(str(context.assets / TOKENIZER)), **ids)
        refuse_foreign_code(context.assets)
        saved_config = (context.assets / CONFIG).read_text(encoding="utf-8")
        reading = Reading.load(context.assets, options)
        pending = context.frozen_half
        model = None if pending else from_config(config_from(saved_config))
    else:
        pending, saved_config = None, None
        with own_random_numbers(context.seed):
            model, vocabulary, reading = load_pretrained(options)
    if model is not None:
        check(model, vocabulary, reading, options=options)
    return TransformersEncoder(
        model,
        vocabulary,
        reading,
        options=options,
        width=context.width,
        pending=pending,
        saved_config=saved_config,
    )


def facts_of(model: PreTrainedModel) -> dict[str, Any]:
    """Return what an encoder must know of its model before that is built, as JSON."""
    config = cast(Any, model.config)
    return {
        "model_type": config.model_type,
        "hidden_size": config.hidden_size,
        "longest_input": longest_input(model),
        "split": False,
    }
