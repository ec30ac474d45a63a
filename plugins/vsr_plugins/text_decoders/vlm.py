"""Text decoder `vlm`: a vision-language model of the transformers library that reads the story as a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from vsr_cli.api import (
    BuildContext,
    Context,
    Decoding,
    Narrative,
    TextObjective,
    TokenBatch,
    VsrError,
    refuse_large_tokenizer,
)
from vsr_cli.api.generation import NEVER, draw, forbid_repeats, uniform_numbers
from vsr_cli.api.text_loss import sliced_loss
from vsr_cli.api.token_decoder import TokenDecoder

from ..lora import add_lora, fold_lora
from . import VlmOptions
from .vlm_conversation import Conversations
from .vlm_loading import load, read_assets, write_assets

PER_TOKEN = ("mm_token_type_ids", "token_type_ids")
"""Inputs of models with one number per token, 0 for text."""


class TokenRules(LogitsProcessor):
    """The rules of `vsr_cli.api.generation` for transformers: forbidden tokens, sampling independent of the batch.

    `prompt` is the length in tokens of the prompts, which are no part of a text; `numbers` (R, length) in [0, 1)
    choose the sampled tokens, and are None unless texts are sampled.
    """

    def __init__(self, decoding: Decoding, *, never: Sequence[int], numbers: Tensor | None, prompt: int) -> None:
        self.decoding, self.never, self.numbers, self.prompt = decoding, list(never), numbers, prompt

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores (R, V) after the tokens (R, t); when sampling, all but the sampled token are -inf."""
        written, scores = input_ids[:, self.prompt :], scores.clone()
        scores[:, self.never] = NEVER
        if self.decoding.no_repeat_ngram:
            forbid_repeats(scores, written, length=self.decoding.no_repeat_ngram)
        if self.numbers is None:
            return scores
        token = draw(scores, self.numbers[:, written.shape[1]], decoding=self.decoding)
        return torch.full_like(scores, NEVER).scatter_(1, token[:, None], 0.0)


class VlmDecoder(TokenDecoder):
    """A vision-language model that answers a message with the images and texts of the context.

    The model is frozen, trains low-rank updates (Hu et al. 2022, "LoRA"), or trains as a whole. It reads nothing of the
    other components.
    """

    def __init__(self, model: Any, processor: Any, *, options: VlmOptions, objective: TextObjective) -> None:
        positions = model.config.get_text_config().max_position_embeddings
        if options.length >= positions:
            raise VsrError(
                f"text_decoder.length: {options.length} tokens leave no room for a conversation, as the model reads "
                f"{positions}; lower it"
            )
        limit = min(options.context_length or positions, positions - options.length)
        conversations = Conversations(processor, prompt=options.prompt, limit=limit)
        super().__init__(conversations.vocabulary, length=options.length, objective=objective)
        self.conversations = conversations
        self.options, self.frozen = options, options.trained == "none"
        self.open_vocabulary = options.weights == "pretrained"
        model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]  # ignore the model's own settings
        self.model = model
        if options.trained != "all":
            model.requires_grad_(False)
        if options.trained == "lora":
            add_lora(model.get_decoder(), rank=options.rank, dropout=options.dropout, component="text decoder vlm")
        self.train()
        embeddings = model.get_input_embeddings().num_embeddings
        refuse_large_tokenizer(
            "text decoder vlm",
            options.model,
            largest=self.vocabulary.largest,
            embeddings=embeddings,
            option="text_decoder.model",
        )
        never = {*conversations.special, *self.vocabulary.never_generated} - {self.vocabulary.eos}
        self.never = sorted(token for token in never if token < embeddings)

    def train(self, mode: bool = True) -> VlmDecoder:
        """Set the mode of what trains; a frozen model stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.train(False)
        return self

    def fold_updates(self) -> None:
        """Add what LoRA trained to the weights: the model generates faster, and is not trained any more."""
        if self.options.trained == "lora":
            fold_lora(self.model.get_decoder())

    def save_assets(self, folder: Path) -> None:
        """Write the model's configuration and its processor."""
        write_assets(folder, self.model, self.conversations.processor)

    def tokenize(self, texts: Sequence[str]) -> TokenBatch:
        """Return target ids and mask (N, T) of answers, with a final eos unless the text is truncated."""
        return super().tokenize([self.conversations.opening + text for text in texts])

    def loss(self, narrative: Narrative, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean cross-entropy in nats per real token, a scalar, from targets and mask (B, T)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            scores = self._answer_scores(self._inputs(narrative.context), ids, mask)  # (N, V)
            objective = self._objective()
            if objective.is_plain:
                return functional.cross_entropy(scores.float(), ids[mask])
            return sliced_loss(
                lambda part: scores[part].float().log_softmax(dim=-1),
                ids,
                mask,
                size=scores.shape[1],
                objective=objective,
            )

    def generate(self, narrative: Narrative, decoding: Decoding) -> Tensor:
        """Generate a text per story with `generate` of transformers: ids (B, length), up to eos, then padding."""
        return self._generated(self._inputs(narrative.context), narrative.context, decoding)

    def generate_samples(self, narrative: Narrative, decodings: Sequence[Decoding]) -> Tensor:
        """Return ids (B, S, length): for each of S decodings, what `generate` returns. Images are processed once."""
        inputs = self._inputs(narrative.context)
        return torch.stack([self._generated(inputs, narrative.context, each) for each in decodings], dim=1)

    def _inputs(self, context: Context) -> dict[str, Tensor]:
        """Return the model's inputs for conversations (B, P), padded on the left; repeated frames are left out."""
        frames = context.mask.sum(dim=1).tolist()  # the real frames come first
        images = (255 * context.images()).round().to("cpu", torch.uint8)  # (B, K, 3, H, W)
        batch = self.conversations.encode(
            [texts[:count] for texts, count in zip(context.texts, frames, strict=True)],
            [story[:count] for story, count in zip(images, frames, strict=True)],
        )
        return dict(batch.to(context.mask.device, dtype=self.model.dtype))

    def _answer_scores(self, inputs: dict[str, Tensor], ids: Tensor, mask: Tensor) -> Tensor:
        """Return scores (N, V) of the N real tokens of answers ids and mask (B, T), in the order of `ids[mask]`.

        The sequences are padded on the right, where causal attention ignores it and no position is shifted.
        """
        asked = inputs["attention_mask"]  # (B, P)
        lengths = asked.sum(dim=1)
        order = (1 - asked).argsort(dim=1, stable=True)  # moves the padding to the right
        places = lengths[:, None] + torch.arange(ids.shape[1], device=ids.device)  # (B, T), of the answers' tokens

        def joined(prompts: Tensor, answers: Tensor, *, padding: int = 0) -> Tensor:
            moved = prompts.masked_fill(asked == 0, padding).gather(1, order)  # (B, P)
            longer = functional.pad(moved, (0, ids.shape[1]), value=padding)  # (B, P + T)
            return longer.scatter(1, places, answers.to(prompts.dtype))

        pad = self.vocabulary.pad
        longer = {
            "input_ids": joined(inputs["input_ids"], ids.masked_fill(~mask, pad), padding=pad),
            "attention_mask": joined(asked, mask),
            **{name: joined(inputs[name], torch.zeros_like(ids)) for name in PER_TOKEN if name in inputs},
        }
        first = int(lengths.min()) - 1  # the scores of a token are at the position before it
        wanted = torch.arange(first, int(lengths.max()) - 1 + ids.shape[1], device=ids.device)
        output = self.model(**{**inputs, **longer}, use_cache=False, logits_to_keep=wanted)
        row, place = mask.nonzero(as_tuple=True)
        scores: Tensor = output.logits[row, places[row, place] - 1 - first]
        return scores

    @torch.no_grad()
    def _generated(self, inputs: dict[str, Tensor], context: Context, decoding: Decoding) -> Tensor:
        numbers = None
        if decoding.method == "sample":
            numbers = uniform_numbers(context, seed=decoding.seed, count=self.length).to(context.mask.device)
        beams = decoding.beams if decoding.method == "beam" else 1
        prompt = inputs["input_ids"].shape[1]
        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self.length,
            do_sample=False,  # sampling is in TokenRules, which leaves one token to choose
            num_beams=beams,
            pad_token_id=self.vocabulary.pad,
            bos_token_id=self.vocabulary.bos,
            eos_token_id=self.vocabulary.eos,
            **({"length_penalty": decoding.length_penalty, "early_stopping": True} if beams > 1 else {}),
        )
        rules = TokenRules(decoding, never=self.never, numbers=numbers, prompt=prompt)
        generated = self.model.generate(
            **inputs, generation_config=config, logits_processor=LogitsProcessorList([rules])
        )[:, prompt:]  # (B, t)
        return functional.pad(generated, (0, self.length - generated.shape[1]), value=self.vocabulary.pad)


def build(options: VlmOptions, context: BuildContext) -> VlmDecoder:
    """Build the decoder around a model from the Hub or a folder, or around its architecture from a run's assets.

    Raises VsrError if the model or its processor cannot be loaded or used, or if trained=lora and peft is missing.
    """
    if context.assets is None:
        model, processor = load(options, image_size=context.image_size)
    else:
        model, processor = read_assets(context.assets)
    return VlmDecoder(model, processor, options=options, objective=context.text_objective)
