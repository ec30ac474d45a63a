"""A causal language model of transformers that reads vectors among its tokens, in two stacks of layers.

The stack below is frozen and reads tokens only. Vectors (of images, of the story's summary) enter between the stacks,
so what leaves the stack below is a pure function of the tokens and is computed once for each sequence. Without a stack
below, vectors enter among the token embeddings.

A row is a sequence of int64 numbers: a token id, or -1 - i for the i-th vector of its story. Shapes: R rows, S
positions of a row, M vectors of a story, E width of the language model, N selected states, V vocabulary.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions as Output

from vsr_cli.api import VsrError

from .shared_attention import share

FINAL_NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")
"""Names of the normalization after the last layer, in the architectures of transformers."""
TOKENS_PER_PASS = {"cpu": 512, "cuda": 16_384}
"""Positions that one forward pass computes together at most, unless a single row is longer. A CPU's cache holds the
activations of few: a training step took 1.4 times as long with 2,048. A GPU takes as long for few as for many, since it
waits for the program to start each operation."""
UNUSABLE = (TypeError, ValueError, AttributeError, RuntimeError, IndexError, KeyError)
"""Errors of an architecture that is called in a way that it does not support."""
LARGE = 100.0
"""Factor of embeddings as states on which a head is compared with its linear layer: large scores may be capped."""
PROBE = 7
"""Tokens on which the stacks are compared with the whole model."""


class LanguageModel(nn.Module):
    """A causal language model, divided below the top `upper_layers` layers (None: not divided).

    What lies below is frozen; it stays in evaluation mode. Raises VsrError, without a remedy, if the model cannot be
    divided, or, with `verify`, if its scores are not finite or it does not accept vectors among its tokens. That needs
    its weights.
    """

    def __init__(
        self, model: PreTrainedModel, *, upper_layers: int | None, cache_bytes: int, verify: bool = True
    ) -> None:
        super().__init__()
        self.model: Any = model
        try:
            whole = _whole_scores(model) if verify else None
            share(model)
            lower, upper, self._frozen_layers = _divide(model.base_model, upper_layers)
            # The views share their modules with the model, which alone is registered: each weight is saved once.
            self._views = lower, upper, _scores_of_states(model)
            self._memory: OrderedDict[bytes, Tensor] = OrderedDict()
            self._free = cache_bytes
            self._plain_head: bool | None = None
            if whole is not None:
                self._verify(whole)
        except UNUSABLE as error:
            where = "" if upper_layers is None else " between its layers (text_decoder.lora_layers)"
            raise VsrError(
                f"the architecture {model.config.model_type} does not accept vectors among tokens{where}"
            ) from error

    @property
    def upper(self) -> Any:
        """The stack that vectors enter, a model of transformers without a head."""
        return self._views[1]

    @property
    def width(self) -> int:
        """E, the width of token embeddings and of vectors."""
        return int(self.embeddings.weight.shape[1])

    @property
    def embeddings(self) -> nn.Embedding:
        """The table of token embeddings (V, E)."""
        table: nn.Embedding = self.model.get_input_embeddings()
        return table

    @property
    def head(self) -> nn.Linear | None:
        """The layer from last states to scores; None if scores are more than its product."""
        linear = self.model.get_output_embeddings()
        if self._plain_head is None:
            with torch.no_grad():
                states = LARGE * self.embeddings(_probe(self.embeddings))[0]
                self._plain_head = isinstance(linear, nn.Linear) and torch.allclose(
                    linear(states), self.scores(states), rtol=1e-4
                )
        return linear if self._plain_head else None

    def train(self, mode: bool = True) -> LanguageModel:
        """Set the mode; what lies below stays in evaluation mode."""
        super().train(mode)
        for layer in self._frozen_layers:
            layer.train(False)
        return self

    def scores(self, states: Tensor) -> Tensor:
        """Return the scores (N, V) of the next token from the last states (N, E)."""
        scores: Tensor = self._views[2](inputs_embeds=states[None]).logits[0]
        return scores

    def entered(self, rows: Sequence[Tensor]) -> list[Tensor]:
        """Return what enters the upper stack for each row (S,): (S, E) each, zero where a vector stands."""
        lower = self._views[0]
        if lower is None:
            return [self.embeddings(row.clamp(min=0)) for row in rows]
        return [self._below(lower, row) for row in rows]

    def _below(self, lower: Any, row: Tensor) -> Tensor:
        """Run the stack below for one row (S,). Rows are not batched, so that a result depends on nothing else."""
        key = row.cpu().numpy().tobytes()
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key].to(row.device)
        positions = (row >= 0).nonzero()[:, 0]
        # In the precision of its weights, so that training and validation share the result.
        with torch.no_grad(), torch.autocast(row.device.type, enabled=False):
            embedded = self.embeddings(row[positions])[None]
            mask = torch.ones_like(positions)[None]
            output = lower(inputs_embeds=embedded, attention_mask=mask, position_ids=positions[None], use_cache=False)
            entered: Tensor = embedded.new_zeros(len(row), embedded.shape[-1])
            entered[positions] = output.last_hidden_state[0]
        size = entered.numel() * entered.element_size()
        while self._memory and self._free < size:
            _, oldest = self._memory.popitem(last=False)
            self._free += oldest.numel() * oldest.element_size()
        if self._free >= size:
            self._memory[key] = entered.cpu()
            self._free -= size
        return entered

    def states(self, rows: Sequence[Tensor], vectors: Tensor, chosen: Sequence[Tensor]) -> Tensor:
        """Return the last states (N, E) at the chosen positions of each row, in the order of the rows.

        `vectors` is (R, M, E). Rows of similar length share a forward pass, so that little of it is padding.
        """
        entered = self.entered(rows)
        found: dict[int, Tensor] = {}
        for part in passes(rows):
            padded = nn.utils.rnn.pad_sequence([rows[row] for row in part], batch_first=True)
            inputs = insert(
                nn.utils.rnn.pad_sequence([entered[row] for row in part], batch_first=True), padded, vectors[part]
            )
            # Padding is on the right, where causal attention ignores it, so that no mask is needed.
            states: Tensor = self.upper(inputs_embeds=inputs, use_cache=False).last_hidden_state
            found |= {row: states[index][chosen[row]] for index, row in enumerate(part)}
        return torch.cat([found[row] for row in range(len(rows))])

    @torch.no_grad()
    def _verify(self, whole: Tensor) -> None:
        """Raise ValueError if the stacks or the scores of states differ from the whole model's."""
        rows = list(_probe(self.embeddings))
        no_vectors = self.embeddings.weight.new_zeros(1, 0, self.width)
        scores = self.scores(self.states(rows, no_vectors, [torch.arange(PROBE)]))
        if not torch.allclose(scores.float(), whole.float(), rtol=1e-2, atol=1e-2 * float(whole.float().std())):
            raise ValueError("other scores than the whole model's")


def passes(rows: Sequence[Tensor]) -> list[list[int]]:
    """Return the indices of the rows (S, *) that share a forward pass, rows of similar length together."""
    order = sorted(range(len(rows)), key=lambda row: len(rows[row]))
    most = TOKENS_PER_PASS.get(rows[0].device.type, TOKENS_PER_PASS["cuda"])
    parts: list[list[int]] = []
    for row in order:
        if parts and (len(parts[-1]) + 1) * len(rows[row]) <= most:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def insert(entered: Tensor, rows: Tensor, vectors: Tensor) -> Tensor:
    """Return the inputs of the upper stack (R, S, E): what entered for tokens, and the story's vectors (R, M, E)."""
    index = (-1 - rows).clamp(min=0)[..., None].expand(-1, -1, entered.shape[-1])
    if not vectors.shape[1]:
        return entered
    return torch.where((rows < 0)[..., None], vectors.to(entered.dtype).gather(1, index), entered)


def _divide(base: Any, upper_layers: int | None) -> tuple[Any | None, Any, list[nn.Module]]:
    """Return the lower stack (None if it has no layer), the upper stack, and the layers of the lower one.

    Raises VsrError if the model has no list of layers or fewer than `upper_layers`.
    """
    if upper_layers is None:
        return None, base, []
    kind, count = base.config.model_type, base.config.get_text_config().num_hidden_layers
    lists = {name: each for name, each in base.named_children() if isinstance(each, nn.ModuleList)}
    name = next((name for name, each in lists.items() if len(each) == count), None)
    if name is None:
        raise VsrError(f"the architecture {kind} cannot be divided into layers")
    below = count - upper_layers
    if below < 0:
        raise VsrError(f"the model has {count} layers, fewer than {upper_layers}")
    if not below:
        return None, base, []
    upper = _stack(base, name, slice(below, count))
    for index, layer in enumerate(lists[name][below:]):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                vars(module)["layer_idx"] = index  # each stack has a key-value cache of its own
    return _stack(base, name, slice(0, below)), upper, list(lists[name][:below])


def _stack(base: Any, name: str, part: slice) -> Any:
    """Return a view of a model that runs some of its layers and shares its modules."""
    layers = getattr(base, name)
    view = copy.copy(base)
    view._modules = dict(base._modules)
    view._modules[name] = layers[part]
    view.config = copy.deepcopy(base.config)
    view.config.num_hidden_layers = len(layers[part])
    if getattr(base.config, "layer_types", None):
        view.config.layer_types = base.config.layer_types[part]
    if part.stop < len(layers):
        view._modules |= {norm: nn.Identity() for norm in FINAL_NORMS if norm in base._modules}
    return view


def _probe(embeddings: nn.Embedding) -> Tensor:
    """Return a row of tokens (1, PROBE)."""
    return torch.arange(1, 1 + PROBE, device=embeddings.weight.device)[None] % embeddings.num_embeddings


@torch.no_grad()
def _whole_scores(model: Any) -> Tensor:
    """Return the model's own scores of the probe (PROBE, V); leave the model in evaluation mode."""
    scores: Tensor = model.eval()(input_ids=_probe(model.get_input_embeddings()), use_cache=False).logits[0]
    if not scores.isfinite().all():
        raise VsrError("its scores are not finite, as its weights are damaged or too large for their type")
    return scores


class _States(nn.Module):
    """Stands for a model without a head whose last states are its inputs."""

    @property
    def decoder(self) -> _States:
        """Itself: OPT calls a part of the model by this name."""
        return self

    def forward(self, input_ids: None = None, *, inputs_embeds: Tensor, **_: Any) -> Output:
        """Return the inputs (B, S, E)."""
        output = Output(last_hidden_state=inputs_embeds)
        output.router_logits = None  # asked for by the heads of mixtures of experts
        return output


def _scores_of_states(model: Any) -> Any:
    """Return a view of a language model that computes scores from last states, by whatever its head does to them."""
    view = copy.copy(model)
    view._modules = dict(model._modules)
    view._modules[model.base_model_prefix] = _States()
    return view
