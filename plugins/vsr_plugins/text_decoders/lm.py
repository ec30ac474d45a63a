"""Text decoder `lm`: a causal language model of the transformers library, with a learned prefix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

from vsr_cli.api import BuildContext, Decoding, Narrative, TextObjective, Vocabulary, VsrError
from vsr_cli.api.generation import NEVER, draw, forbid_repeats, uniform_numbers
from vsr_cli.api.text_loss import sliced_loss
from vsr_cli.api.token_decoder import TokenDecoder

from . import LmOptions
from .lm_loading import load, read_assets, write_assets


class Rules(LogitsProcessor):
    """Rules of `vsr_cli.api.generation` for transformers: forbidden tokens, and sampling independent of the batch."""

    def __init__(self, decoding: Decoding, *, never: Sequence[int], numbers: Tensor | None) -> None:
        self.decoding, self.never, self.numbers = decoding, list(never), numbers

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores (R, V) after the tokens (R, t); when sampling, all but the sampled token are -inf."""
        scores = scores.clone()
        scores[:, self.never] = NEVER
        if self.decoding.no_repeat_ngram:
            forbid_repeats(scores, input_ids, length=self.decoding.no_repeat_ngram)
        if self.numbers is None:
            return scores
        token = draw(scores, self.numbers[:, input_ids.shape[1]], decoding=self.decoding)
        return torch.full_like(scores, NEVER).scatter_(1, token[:, None], 0.0)


class LmDecoder(TokenDecoder):
    """A causal language model that continues a prefix of embeddings computed from the summary.

    The prefix is that of Mokady et al. (2021), "ClipCap: CLIP Prefix for Image Captioning", with one linear layer. The
    model is frozen, trains low-rank updates (Hu et al. 2022, "LoRA"), or trains as a whole.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        *,
        width: int,
        options: LmOptions,
        objective: TextObjective,
    ) -> None:
        super().__init__(vocabulary, length=options.length, objective=objective)
        self.frozen = options.trained == "prefix"
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # ignore the model's own settings
        self.model: Any = _with_lora(model, rank=options.rank) if options.trained == "lora" else model
        if self.frozen:
            self.model.requires_grad_(False).train(False)
        embeddings = self._embeddings.weight
        self.prefix = nn.Linear(width, options.prefix * embeddings.shape[1])
        self.norm = nn.LayerNorm(embeddings.shape[1])
        nn.init.constant_(self.norm.weight, float(embeddings.detach().std()))  # the scale of token embeddings

    @property
    def _embeddings(self) -> nn.Embedding:
        table: nn.Embedding = self.model.get_input_embeddings()
        return table

    def train(self, mode: bool = True) -> LmDecoder:
        """Set the mode of what trains; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.train(False)
        return self

    def save_assets(self, folder: Path) -> None:
        """Write the model's configuration and its tokenizer."""
        write_assets(folder, self.model, self.vocabulary)

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        embedded = torch.cat([self._prefix(narrative), self._embeddings(ids[:, :-1])], dim=1)  # (B, P + T - 1, E)
        # Padding is on the right, where causal attention ignores it.
        scores = self.model(inputs_embeds=embedded, use_cache=False).logits[:, -ids.shape[1] :][mask]  # (N, V)
        objective = self._objective()
        if objective.is_plain:
            return functional.cross_entropy(scores.float(), ids[mask])
        return sliced_loss(
            lambda part: scores[part].float().log_softmax(dim=-1), ids, mask, size=scores.shape[1], objective=objective
        )

    @torch.no_grad()
    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Generate a text per story with `generate` of transformers: ids (B, length), up to eos, then padding."""
        prefix, numbers = self._prefix(narrative), None
        if decoding.method == "sample":
            numbers = uniform_numbers(narrative.context, seed=decoding.seed, count=self.length).to(prefix.device)
        beams = decoding.beams if decoding.method == "beam" else 1
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self.length,
            do_sample=False,  # sampling is in Rules, which leaves one token to choose
            num_beams=beams,
            pad_token_id=self.vocabulary.pad,
            bos_token_id=self.vocabulary.bos,
            eos_token_id=self.vocabulary.eos,
            **({"length_penalty": decoding.length_penalty, "early_stopping": True} if beams > 1 else {}),
        )
        never = {self.vocabulary.pad, self.vocabulary.bos} - {self.vocabulary.eos}
        generated = self.model.generate(
            inputs_embeds=prefix,
            attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
            generation_config=config,
            logits_processor=LogitsProcessorList([Rules(decoding, never=sorted(never), numbers=numbers)]),
        )  # (B, t)
        return functional.pad(generated, (0, self.length - generated.shape[1]), value=self.vocabulary.pad)

    def _prefix(self, narrative: Narrative) -> Tensor:
        projected = self.prefix(narrative.summary).unflatten(
            1, (-1, self._embeddings.embedding_dim)
        )  # (B, D) -> (B, P, E)
        normed: Tensor = self.norm(projected)
        return normed


def _with_lora(model: PreTrainedModel, *, rank: int) -> Any:
    """Add LoRA weights to every linear layer. Raises VsrError if peft is not installed."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise VsrError(
            "text decoder lm: text_decoder.trained=lora needs peft, which is not installed; "
            "pip install 'vsr-cli[lora]', or choose prefix or all"
        ) from error
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPT-2's transposed weights, which peft handles
        return get_peft_model(model, config)


def build(options: LmOptions, context: BuildContext) -> LmDecoder:
    """Build the decoder around a model from the Hub or a folder, or around its architecture from a run's assets.

    Raises VsrError if the model or its tokenizer cannot be loaded, or if trained=lora and peft is not installed.
    """
    model, vocabulary = load(options) if context.assets is None else read_assets(context.assets)
    return LmDecoder(model, vocabulary, width=context.width, options=options, objective=context.text_objective)
