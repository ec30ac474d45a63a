"""Checks of every component of a model, whatever its kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from ..api import Context, Decoding
from ..config.experiment import TrainConfig, resolve_train
from ..config.resolve import Layer
from ..files.strict_json import from_json, to_json
from ..model.building import save_assets
from ..model.story_model import Prediction, StoryModel
from ..model.weights import load_weights, save_weights
from .harness import (
    LOSS_OF,
    MAX_LOSS_RATIO,
    RATES,
    SIZES,
    STEPS,
    TRAINING_SIZE,
    Harness,
    describe,
    loss_of,
    near,
    read,
    train,
)
from .outcomes import Check, require

NARRATED = ("visual", "text", "steps", "summary")


def survives_json(harness: Harness) -> str | None:
    """Save the configuration as a run does and load it."""
    record = from_json(to_json(harness.config.record()))
    again = _resolve(harness, record).parts[harness.section].options
    given = harness.config.parts[harness.section].options
    require(again == given, f"after loading they are {again!r}, not {given!r}")
    return None


def _resolve(harness: Harness, record: Mapping[str, Any]) -> TrainConfig:
    sections = {key: value for key, value in record.items() if isinstance(value, dict)}
    return resolve_train(harness.registry, preset=harness.config.preset, layers=[Layer("config.json", sections)])


def gives_its_shapes(harness: Harness) -> str | None:
    """Compute losses and a prediction at each size."""
    for size in SIZES:
        model = harness.build(size)
        context, target = read(model, size)
        read_by = {
            "visual": (context.visual.flatten(0, 1),),
            "text": (context.text.flatten(0, 1), context.text_mask.flatten(0, 1)),
        }
        if harness.section in read_by:
            given, wanted = harness.component(model)(*read_by[harness.section]), (size.stories * size.steps, size.width)
            require(given.shape == wanted, f"returned {describe(given)}, not embeddings (N, D) = {wanted}")
        if harness.section == "temporal":
            pair = model.temporal(torch.zeros(size.stories, size.steps, size.width), context.mask)
            require(
                isinstance(pair, tuple) and len(pair) == 2,
                "did not return steps (B, K, D) and summary (B, D)",
            )
        losses = model(context, target)
        for name, loss in losses.items():
            require(loss.shape == (), f"the {name} loss is {describe(loss)}, not a scalar")
            require(bool(loss.isfinite()), f"the {name} loss is {loss.item()}")
        _prediction(model, context)
    return None


def _prediction(model: StoryModel, context: Context) -> Prediction:
    prediction = model.predict(context, Decoding())
    require(
        len(prediction.texts) == len(context.mask),
        f"generated {len(prediction.texts)} texts for {len(context.mask)} stories",
    )
    require(bool(prediction.images.isfinite().all()), "generated pixels that are not finite")
    return prediction


@torch.no_grad()
def reads_alike(harness: Harness) -> str | None:
    """Compare a batch of stories with each story alone."""
    model = harness.build()
    context, _ = read(model)
    together, predicted = model.encode_context(context), _prediction(model, context)
    for story in range(len(context.mask)):
        alone = context.take([story])
        narrative, prediction = model.encode_context(alone), _prediction(model, alone)
        pairs = {name: (getattr(narrative, name), getattr(together, name)) for name in NARRATED}
        pairs["image"] = (prediction.images, predicted.images)
        for name, (one, others) in pairs.items():
            other = others[story : story + 1]
            gap = (one - other).abs().max().item()
            require(near(one, other), f"the {name} of a story depends on the rest of the batch, by up to {gap:.2g}")
        require(prediction.texts[0] == predicted.texts[story], "the text of a story depends on the rest of the batch")
    return None


def gradients_reach(harness: Harness) -> str | None:
    """Require a gradient for every trained parameter, and no change of frozen tensors."""
    training = harness.training
    what = f"{len(training.unreached)} trained parameters get no gradient, such as {training.unreached[:1]}"
    require(not training.unreached, f"{what}; use them, or set requires_grad_(False)")
    what = f"{len(training.moved)} frozen tensors change in training, such as {training.moved[:1]}"
    require(not training.moved, f"{what}; override train() to keep frozen modules in eval()")
    return f"{training.trained:,} trained parameters"


def learns(harness: Harness) -> str | None:
    """Require a lower loss after training, at one of the learning rates."""
    training = harness.training
    if not training.trained and harness.section in LOSS_OF:
        return "it has no trained parameters"
    if training.after >= MAX_LOSS_RATIO * training.before:
        training = train(harness, steps=STEPS, rate=RATES[1])
    change = f"{training.before:.4f} to {training.after:.4f} in {training.steps} steps at learning rate {training.rate}"
    require(training.after < MAX_LOSS_RATIO * training.before, f"it changed from {change}")
    return change


def computes_in_bf16(harness: Harness) -> str | None:
    """Compute losses, gradients and a prediction under bf16 autocast, as on a GPU."""
    model = harness.build()
    context, target = read(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(context, target)
        _prediction(model, context)
    losses["loss"].backward()
    wrong = [name for name, loss in losses.items() if not loss.isfinite()]
    require(not wrong, f"these losses are not finite: {', '.join(wrong)}")
    wrong = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    require(not wrong, f"{len(wrong)} gradients are not finite, such as that of {wrong[:1]}")
    return None


def reads_back(harness: Harness) -> str | None:
    """Train for two steps, save the model as a run does, load it, and compare."""
    model = train(harness, steps=2, rate=RATES[-1]).model
    with TemporaryDirectory() as folder:
        assets, weights = Path(folder) / "assets", [Path(folder) / name for name in ("frozen", "trained")]
        save_assets(model, assets)
        for path, frozen in zip(weights, (True, False), strict=True):
            save_weights(model, path, frozen=frozen)
        again = harness.build(TRAINING_SIZE, assets=assets)
        again.load_state_dict({name: tensor for path in weights for name, tensor in load_weights(path).items()})
    batches = [read(each, TRAINING_SIZE) for each in (model, again)]
    losses = [loss_of(harness, each, *batch).item() for each, batch in zip((model, again), batches, strict=True)]
    require(losses[0] == losses[1], f"its loss is {losses[1]}, not {losses[0]}; some state is not saved")
    predictions = [_prediction(each, batch[0]) for each, batch in zip((model, again), batches, strict=True)]
    require(predictions[0].texts == predictions[1].texts, "it generates other texts; some state is not saved")
    require(predictions[0].images.equal(predictions[1].images), "it generates other images; some state is not saved")
    keys = [getattr(harness.component(each), "cache_key", None) for each in (model, again)]
    require(keys[0] == keys[1], "its cache_key changes, so that cached features would not be found")
    return None


CHECKS: tuple[Check[Harness], ...] = (
    ("its options survive config.json", survives_json),
    ("its shapes are right for several B, K, D and image sizes", gives_its_shapes),
    ("a story does not depend on the rest of its batch", reads_alike),
    ("gradients reach all trained parameters, and frozen ones do not change", gradients_reach),
    ("learns: its loss falls", learns),
    ("works in bf16", computes_in_bf16),
    ("is the same after saving and loading", reads_back),
)
"""In the order in which an error is best understood."""
