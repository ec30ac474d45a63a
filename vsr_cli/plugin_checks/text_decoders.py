"""Checks of text decoders: valid output that does not depend on a target, and a sound loss."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from ..api import Decoding, GeneratesSamples, Narrative, TextObjective
from ..api.decoding import sample_decodings
from ..model.story_model import StoryModel
from .harness import Harness, describe, read, tokens
from .outcomes import Check, require


@torch.no_grad()
def generates_valid_ids(harness: Harness) -> str | None:
    """Generate by every decoding method, and compute the loss of the generated texts.

    For minimum Bayes risk decoding, compare samples that are generated together with the same ones generated alone.
    """
    model = harness.build()
    context, _ = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    target, real = tokens(decoder.tokenize(["a", "b c"]), 2)
    end, padding = int(target[0][real[0]][-1]), target[~real]
    methods = get_args(Decoding.model_fields["method"].annotation)
    for method in methods:
        if method == "mbr":
            _check_samples(model, narrative)
            continue
        ids = decoder.generate(narrative, Decoding.model_validate({"method": method}))
        where = f"by {method}"
        wanted = f"(B, T) int64, B = {len(context.mask)}"
        require(ids.dtype == torch.int64 and ids.dim() == 2, f"{where}: generated {describe(ids)}, not {wanted}")
        require(len(ids) == len(context.mask), f"{where}: generated {describe(ids)}, not {wanted}")
        require(bool((ids >= 0).all()), f"{where}: generated ids below 0")
        after = ((ids == end).cumsum(dim=1) - (ids == end).long()) > 0  # (B, T): after the first end
        require(
            not len(padding) or bool((ids[after] == padding[0]).all()),
            f"{where}: generated tokens after the end of a text",
        )
        require(
            bool(decoder.loss(narrative, ids, ~after).isfinite()),
            f"{where}: its loss of the text is not finite",
        )
        texts = decoder.detokenize(ids)
        require(
            len(texts) == len(ids) and all(isinstance(text, str) for text in texts),
            "detokenize returned no text for a row",
        )
    return ", ".join(methods)


def _check_samples(model: StoryModel, narrative: Narrative) -> None:
    decoder, how = model.text_decoder, Decoding(method="mbr", samples=2)
    alone = [decoder.generate(narrative, each) for each in sample_decodings(how)]
    if isinstance(decoder, GeneratesSamples):
        samples = decoder.generate_samples(narrative, sample_decodings(how))  # (B, S, T)
        form = f"(B, S, T) int64, B = {len(narrative.summary)}, S = {len(alone)}"
        fits = samples.dim() == 3 and samples.shape[1] == len(alone)
        require(fits, f"generate_samples generated {describe(samples)}, not {form}")
        require(
            all(one.equal(two) for one, two in zip(alone, samples.unbind(1), strict=True)),
            "generate_samples generates other texts than generate does for the same decodings",
        )
    texts = model.predict(narrative.context, how).texts
    require(len(texts) == len(narrative.summary), f"by mbr: predicted {len(texts)} texts")


@torch.no_grad()
def text_ignores_target(harness: Harness) -> str | None:
    """Generate before and after computing the loss of two different targets."""
    model = harness.build()
    context, target = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    generated = [decoder.generate(narrative, Decoding())]
    for ids, mask in ((target.ids, target.mask), (target.ids.flip(0), target.mask.flip(0))):
        decoder.loss(narrative, ids, mask)
        generated.append(decoder.generate(narrative, Decoding()))
    require(
        all(ids.equal(generated[0]) for ids in generated),
        "the generated text depends on a target; do not store targets",
    )
    return None


@torch.no_grad()
def text_ignores_padding(harness: Harness) -> str | None:
    """Replace padding by real tokens, in the targets and in the texts of the context."""
    model = harness.build()
    context, target = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    loss = decoder.loss(narrative, target.ids, target.mask)
    filled = target.ids.where(target.mask, target.ids[:, :1])
    other = decoder.loss(narrative, filled, target.mask)
    require(loss.equal(other), f"ids of the target outside of its mask change the loss from {loss:.6f} to {other:.6f}")
    ids = context.text_ids.where(context.text_mask, context.text_ids[..., :1])
    changed = replace(narrative, context=replace(context, text_ids=ids))
    other = decoder.loss(changed, target.ids, target.mask)
    require(
        torch.allclose(loss, other),
        f"ids of the context outside of its mask change the loss, {loss:.6f} to {other:.6f}",
    )
    one, two = (decoder.generate(each, Decoding()) for each in (narrative, changed))
    require(one.equal(two), "ids of the context outside of its mask change the generated text")
    return None


@torch.no_grad()
def uses_objective(harness: Harness) -> str | None:
    """Compare the losses with and without label smoothing."""
    plain = harness.build()
    if not isinstance(getattr(plain.text_decoder, "objective", None), TextObjective):
        return "it supports none"
    objective = harness.config.objective.model_copy(update={"label_smoothing": 0.2})
    smoothed = replace(harness, config=replace(harness.config, objective=objective)).build()
    evaluated, in_training = ([_loss(model, training) for model in (plain, smoothed)] for training in (False, True))
    require(
        evaluated[0].equal(evaluated[1]),
        "label smoothing changes its loss in evaluation mode; use self.training",
    )
    require(not in_training[0].equal(in_training[1]), "label smoothing does not change its loss in training")
    return None


def _loss(model: StoryModel, training: bool) -> Tensor:
    context, target = read(model.eval())
    model.train(training)
    torch.manual_seed(0)  # the same dropout for all
    return model.text_decoder.loss(model.encode_context(context), target.ids, target.mask)


CHECKS: tuple[Check[Harness], ...] = (
    ("generates valid ids, and only padding after the end", generates_valid_ids),
    ("its text does not depend on a target", text_ignores_target),
    ("ignores padding", text_ignores_padding),
    ("uses its objective in training only", uses_objective),
)
