"""What a decoder promises: to write and draw without a target in sight, and to be judged by it fairly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import torch
from torch import Tensor

from ..api import Decoding, TextObjective
from ..model.story_model import StoryModel
from .harness import Bench, read, tokens, told
from .outcomes import Check, demand


def text_checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks of a text decoder."""
    yield "writes ids of its own, and only padding after the end", lambda: writes_legal_ids(bench)
    yield "writes the same whatever target it has seen", lambda: writes_unseen(bench)
    yield "padding changes nothing", lambda: text_ignores_padding(bench)
    yield "heeds its objective in training, and only there", lambda: heeds_objective(bench)


def image_checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks of an image decoder."""
    yield "draws within 0 and 1", lambda: draws_in_range(bench)
    yield "draws the same whatever target it has seen", lambda: draws_unseen(bench)
    yield "its loss is least at the target", lambda: loss_is_least_at_target(bench)


@torch.no_grad()
def writes_legal_ids(bench: Bench) -> str | None:
    """Write by every method of decoding and hand what was written to the loss, as if it were a target."""
    model = bench.build()
    context, _ = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    target, real = tokens(decoder.tokenize(["a", "b c"]), 2)
    end, padding = int(target[0][real[0]][-1]), target[~real]
    methods = get_args(Decoding.model_fields["method"].annotation)
    for method in methods:
        ids = decoder.generate(narrative, Decoding.model_validate({"method": method}))
        where = f"by {method}"
        wanted = f"(B, T) int64, B = {len(context.mask)}"
        demand(ids.dtype == torch.int64 and ids.dim() == 2, f"{where}: wrote {told(ids)}; it writes {wanted}")
        demand(len(ids) == len(context.mask), f"{where}: wrote {told(ids)}; it writes {wanted}")
        demand(bool((ids >= 0).all()), f"{where}: wrote ids below 0")
        after = ((ids == end).cumsum(dim=1) - (ids == end).long()) > 0  # (B, T): after the first end
        demand(
            not len(padding) or bool((ids[after] == padding[0]).all()),
            f"{where}: wrote something after the end of a text",
        )
        demand(bool(decoder.loss(narrative, ids, ~after).isfinite()), f"{where}: wrote what its own loss cannot read")
        texts = decoder.detokenize(ids)
        demand(len(texts) == len(ids) and all(isinstance(text, str) for text in texts), "detokenize gave no text a row")
    return ", ".join(methods)


@torch.no_grad()
def writes_unseen(bench: Bench) -> str | None:
    """Write before and after the loss has seen two different targets."""
    model = bench.build()
    context, target = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    written = [decoder.generate(narrative, Decoding())]
    for ids, mask in ((target.ids, target.mask), (target.ids.flip(0), target.mask.flip(0))):
        decoder.loss(narrative, ids, mask)
        written.append(decoder.generate(narrative, Decoding()))
    demand(all(ids.equal(written[0]) for ids in written), "what it writes depends on a target; keep none in the module")
    return None


@torch.no_grad()
def text_ignores_padding(bench: Bench) -> str | None:
    """Put real tokens where there are none, in the targets and in the contexts' texts."""
    model = bench.build()
    context, target = read(model)
    narrative, decoder = model.encode_context(context), model.text_decoder
    loss = decoder.loss(narrative, target.ids, target.mask)
    filled = target.ids.where(target.mask, target.ids[:, :1])
    other = decoder.loss(narrative, filled, target.mask)
    demand(loss.equal(other), f"ids of the target beyond its mask change the loss from {loss:.6f} to {other:.6f}")
    ids = context.text_ids.where(context.text_mask, context.text_ids[..., :1])
    changed = replace(narrative, context=replace(context, text_ids=ids))
    other = decoder.loss(changed, target.ids, target.mask)
    demand(
        torch.allclose(loss, other), f"ids of the context beyond its mask change the loss, {loss:.6f} to {other:.6f}"
    )
    one, two = (decoder.generate(each, Decoding()) for each in (narrative, changed))
    demand(one.equal(two), "ids of the context beyond its mask change what is written")
    return None


@torch.no_grad()
def heeds_objective(bench: Bench) -> str | None:
    """Compare the losses of the same decoder with and without label smoothing."""
    plain = bench.build()
    if not isinstance(getattr(plain.text_decoder, "objective", None), TextObjective):
        return "it takes none"
    objective = bench.config.objective.model_copy(update={"label_smoothing": 0.2})
    smoothed = replace(bench, config=replace(bench.config, objective=objective)).build()
    in_use, in_training = ([_loss(model, training) for model in (plain, smoothed)] for training in (False, True))
    demand(in_use[0].equal(in_use[1]), "label smoothing changes its loss in use; heed it where self.training alone")
    demand(not in_training[0].equal(in_training[1]), "label smoothing does not change its loss in training")
    return None


def _loss(model: StoryModel, training: bool) -> Tensor:
    context, target = read(model.eval())
    model.train(training)
    torch.manual_seed(0)  # what is dropped out is the same for all
    return model.text_decoder.loss(model.encode_context(context), target.ids, target.mask)


def _drawn(bench: Bench) -> tuple[Callable[[], Tensor], Tensor, Callable[[Tensor, Tensor], Tensor]]:
    """Return what draws, the target (B, 3, H, W) and the loss."""
    model = bench.build()
    context, target = read(model)
    narrative, decoder = model.encode_context(context), model.image_decoder
    return lambda: decoder(narrative), target.image, decoder.loss


@torch.no_grad()
def draws_in_range(bench: Bench) -> str | None:
    """Draw from a narrative, and from one ten times as large."""
    model = bench.build()
    context, _ = read(model)
    narrative = model.encode_context(context)
    loud = replace(narrative, steps=10 * narrative.steps, summary=10 * narrative.summary)
    for each in (narrative, loud):
        images = model.image_decoder(each)
        low, high = images.min().item(), images.max().item()
        demand(low >= 0 and high <= 1, f"drew pixels from {low:.3g} to {high:.3g}; bound them, e.g. by a sigmoid")
    return None


@torch.no_grad()
def draws_unseen(bench: Bench) -> str | None:
    """Draw before and after the loss has seen two different targets."""
    draw, target, loss = _drawn(bench)
    images = [draw()]
    for seen in (target, 1 - target):
        loss(images[0], seen)
        images.append(draw())
    demand(all(image.equal(images[0]) for image in images), "what it draws depends on a target, or on chance")
    return None


@torch.no_grad()
def loss_is_least_at_target(bench: Bench) -> str | None:
    """Compare the loss of a prediction with that of the target itself."""
    draw, target, loss = _drawn(bench)
    drawn, perfect = loss(draw(), target).item(), loss(target, target).item()
    demand(perfect <= drawn, f"the target itself costs {perfect:.4f}, what is drawn {drawn:.4f}")
    return f"{perfect:.4f}, of what is drawn {drawn:.4f}"
