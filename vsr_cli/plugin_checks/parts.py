"""What every part of a model promises, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from ..api import Context, Decoding, Target
from ..config.experiment import TrainConfig, resolve_train
from ..config.resolve import Layer
from ..files.strict_json import from_json, to_json
from ..model.building import save_assets
from ..model.story_model import Prediction, StoryModel
from ..model.weights import frozen_names, load_weights, save_weights
from .harness import SIZES, Bench, Size, near, read, told
from .outcomes import Check, demand

LESSON = Size(8, 4, 32, 32)
"""What a part learns from: eight stories."""
STEPS = 25
RATES = (1e-2, 1e-3)
"""Step sizes of which one must do."""
FALL = 0.9
"""Of its loss before, the most that may be left after learning."""
LOSS_OF = {"text_decoder": "text", "image_decoder": "image"}
"""The term of the loss that is a decoder's own. The other parts are taught by the whole, through decoders that learn
with them: ones that never learnt to read would tell them nothing."""
NARRATED = ("visual", "text", "steps", "summary")


def checks(bench: Bench) -> Iterator[Check]:
    """Yield the checks in the order in which a mistake is best understood."""
    lesson = cache(lambda: teach(bench, steps=STEPS, rate=RATES[0]))
    yield "its options survive a run's config.json", lambda: survives_json(bench)
    yield "gives its shapes, for several B, K, D and image sizes", lambda: gives_its_shapes(bench)
    yield "reads a story alike in any company", lambda: reads_alike(bench)
    yield "gradients reach all that trains, and what is frozen stays", lambda: gradients_reach(lesson())
    yield "learns: its loss falls", lambda: learns(bench, lesson())
    yield "computes in bf16 too", lambda: computes_in_bf16(bench)
    yield "is the same once saved and read back", lambda: reads_back(bench)


def survives_json(bench: Bench) -> str | None:
    """Write the configuration as a run does and resolve it again."""
    record = from_json(to_json(bench.config.record()))
    again = _resolve(bench, record).parts[bench.section].options
    given = bench.config.parts[bench.section].options
    demand(again == given, f"read back they are {again!r}, not {given!r}")
    return None


def _resolve(bench: Bench, record: Mapping[str, Any]) -> TrainConfig:
    sections = {key: value for key, value in record.items() if isinstance(value, dict)}
    return resolve_train(bench.registry, preset=bench.config.preset, layers=[Layer("config.json", sections)])


def gives_its_shapes(bench: Bench) -> str | None:
    """Train and predict once at each size."""
    for size in SIZES:
        model = bench.build(size)
        context, target = read(model, size)
        read_by = {
            "visual": (context.visual.flatten(0, 1),),
            "text": (context.text.flatten(0, 1), context.text_mask.flatten(0, 1)),
        }
        if bench.section in read_by:
            given, wanted = bench.part(model)(*read_by[bench.section]), (size.stories * size.steps, size.width)
            demand(given.shape == wanted, f"gave {told(given)} embeddings; it gives (N, D) = {wanted}")
        if bench.section == "temporal":
            pair = model.temporal(torch.zeros(size.stories, size.steps, size.width), context.mask)
            demand(isinstance(pair, tuple) and len(pair) == 2, "gave no pair of steps (B, K, D) and summary (B, D)")
        losses = model(context, target)
        for name, loss in losses.items():
            demand(loss.shape == (), f"the {name} loss is {told(loss)}; it is a scalar")
            demand(bool(loss.isfinite()), f"the {name} loss is {loss.item()}")
        _prediction(model, context)
    return None


def _prediction(model: StoryModel, context: Context) -> Prediction:
    prediction = model.predict(context, Decoding())
    demand(len(prediction.texts) == len(context.mask), f"wrote {len(prediction.texts)} texts for {len(context.mask)}")
    demand(bool(prediction.images.isfinite().all()), "drew pixels that are no numbers")
    return prediction


@torch.no_grad()
def reads_alike(bench: Bench) -> str | None:
    """Read the stories together and one by one."""
    model = bench.build()
    context, _ = read(model)
    together, predicted = model.encode_context(context), _prediction(model, context)
    for story in range(len(context.mask)):
        alone = _story(context, story)
        narrative, prediction = model.encode_context(alone), _prediction(model, alone)
        pairs = {name: (getattr(narrative, name), getattr(together, name)) for name in NARRATED}
        pairs["image"] = (prediction.images, predicted.images)
        for name, (one, others) in pairs.items():
            other = others[story : story + 1]
            gap = (one - other).abs().max().item()
            demand(near(one, other), f"the {name} of a story depends on the rest by up to {gap:.2g}")
        demand(prediction.texts[0] == predicted.texts[story], "the text of a story depends on the rest of the batch")
    return None


def _story(context: Context, index: int) -> Context:
    chosen = {name: getattr(context, name)[index : index + 1] for name in Context.__dataclass_fields__}
    return Context(**chosen)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What came of training a decoder alone, or another part and the decoders that read it, on eight stories."""

    model: StoryModel
    steps: int
    rate: float
    trained: int
    """Numbers of the part that train."""
    unreached: list[str]
    """Parameters that train but got no gradient other than 0 at any step: one behind a gate that starts at 0 waits."""
    moved: list[str]
    """Tensors of the part that are frozen and changed all the same."""
    before: float
    """The loss on the stories, in use rather than in training."""
    after: float


def teach(bench: Bench, *, steps: int, rate: float) -> Lesson:
    """Train for some steps on the same batch."""
    model = bench.build(LESSON)
    part = bench.part(model)
    context, target = read(model, LESSON)
    trained = {name: weight for name, weight in part.named_parameters() if weight.requires_grad}
    frozen = frozen_names(part)
    kept = {name: value.clone() for name, value in part.state_dict().items() if name in frozen}
    pupils = [part] if bench.section in LOSS_OF else [part, model.text_decoder, model.image_decoder]
    learning = [weight for pupil in pupils for weight in pupil.parameters() if weight.requires_grad]
    model.requires_grad_(False)
    for weight in learning:
        weight.requires_grad_(True)
    before = _loss(bench, model, context, target).item()
    optimizer = torch.optim.Adam(learning, lr=rate) if learning else None
    reached: set[str] = set()
    model.train()
    for _ in range(steps if optimizer else 0):
        model.zero_grad()
        _loss(bench, model, context, target).backward()  # type: ignore[no-untyped-call]
        reached |= {name for name, weight in trained.items() if weight.grad is not None and weight.grad.any()}
        if optimizer:
            optimizer.step()
    model.eval()
    return Lesson(
        model=model,
        steps=steps,
        rate=rate,
        trained=sum(map(torch.numel, trained.values())),
        unreached=sorted(trained.keys() - reached),
        moved=[name for name, value in kept.items() if not part.state_dict()[name].equal(value)],
        before=before,
        after=_loss(bench, model, context, target).item(),
    )


def _loss(bench: Bench, model: StoryModel, context: Context, target: Target) -> Tensor:
    losses: dict[str, Tensor] = model(context, target)
    return losses[LOSS_OF.get(bench.section, "loss")]


def gradients_reach(lesson: Lesson) -> str | None:
    """See which parameters a gradient reached, and that nothing frozen moved."""
    what = f"none reaches {len(lesson.unreached)} parameters that train, the first is {lesson.unreached[:1]}"
    demand(not lesson.unreached, f"{what}; use them, or set requires_grad_(False)")
    what = f"{len(lesson.moved)} frozen tensors change in training, the first is {lesson.moved[:1]}"
    demand(not lesson.moved, f"{what}; keep what is frozen in eval() by overriding train()")
    return f"{lesson.trained:,} numbers train"


def learns(bench: Bench, lesson: Lesson) -> str | None:
    """See that the loss is lower than it was, or that it is with smaller steps."""
    if not lesson.trained and bench.section in LOSS_OF:
        return "nothing in it trains"
    if lesson.after >= FALL * lesson.before:
        lesson = teach(bench, steps=STEPS, rate=RATES[1])
    told_fall = f"{lesson.before:.4f} to {lesson.after:.4f} in {lesson.steps} steps of {lesson.rate}"
    demand(lesson.after < FALL * lesson.before, f"it went from {told_fall}")
    return told_fall


def computes_in_bf16(bench: Bench) -> str | None:
    """Train and predict once under autocast, as on a GPU."""
    model = bench.build()
    context, target = read(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model(context, target)
        _prediction(model, context)
    losses["loss"].backward()
    wrong = [name for name, loss in losses.items() if not loss.isfinite()]
    demand(not wrong, f"no number is the loss of: {', '.join(wrong)}")
    wrong = [
        name
        for name, weight in model.named_parameters()
        if weight.grad is not None and not weight.grad.isfinite().all()
    ]
    demand(not wrong, f"{len(wrong)} gradients are no numbers, the first of {wrong[:1]}")
    return None


def reads_back(bench: Bench) -> str | None:
    """Save a model that has trained for two steps as a run does, build it again from that alone, and compare."""
    model = teach(bench, steps=2, rate=RATES[-1]).model
    with TemporaryDirectory() as folder:
        assets, weights = Path(folder) / "assets", [Path(folder) / name for name in ("frozen", "trained")]
        save_assets(model, assets)
        for path, frozen in zip(weights, (True, False), strict=True):
            save_weights(model, path, frozen=frozen)
        again = bench.build(LESSON, assets=assets)
        again.load_state_dict({name: tensor for path in weights for name, tensor in load_weights(path).items()})
    batches = [read(each, LESSON) for each in (model, again)]
    losses = [_loss(bench, each, *batch).item() for each, batch in zip((model, again), batches, strict=True)]
    demand(losses[0] == losses[1], f"its loss was {losses[0]} and is {losses[1]}; something is not saved")
    predictions = [_prediction(each, batch[0]) for each, batch in zip((model, again), batches, strict=True)]
    demand(predictions[0].texts == predictions[1].texts, "it writes other texts; what decides them is not saved")
    demand(predictions[0].images.equal(predictions[1].images), "it draws other images; what decides them is not saved")
    keys = [getattr(bench.part(each), "cache_key", None) for each in (model, again)]
    demand(keys[0] == keys[1], "its cache_key is another: kept features would be computed again")
    return None
