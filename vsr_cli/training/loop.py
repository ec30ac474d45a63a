"""The training loop: a function, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from numpy.typing import NDArray
from torch import Tensor

from ..config import TrainConfig, TrainingOptions
from ..data.batches import Contexts, Targets
from ..data.features import Features, frozen_features
from ..data.prepared import Prepared, Windows
from ..errors import VsrError
from ..files import replacing_folder, write_json
from ..model.building import build_model, save_assets
from ..model.story_model import StoryModel
from ..model.weights import choose_device, save_weights
from ..run import Run, now
from .display import EpochRow, TrainingDisplay
from .memory import keep_freed_memory
from .optimizer import clip_gradient, make_optimizer


@dataclass(frozen=True)
class _Split:
    """The batches of one split."""

    contexts: Contexts
    targets: Targets

    def __len__(self) -> int:
        return len(self.contexts)


def train(config: TrainConfig, prepared: Prepared, run: Run, display: TrainingDisplay) -> StoryModel:
    """Train a model on prepared data and leave everything in the run folder.

    Ctrl-C keeps the weights of that moment as the last checkpoint and goes on up.
    Raises VsrError if there is nothing to train on or a loss is no longer a finite number.
    """
    options = config.training
    windows = prepared.windows("train")
    if not len(windows):
        raise VsrError(f"{prepared.folder}: no window is in the train split; prepare more stories")
    keep_freed_memory()
    device = choose_device(options.device)
    accelerator = Accelerator(mixed_precision=_precision(options, device), cpu=device.type == "cpu")
    set_seed(options.seed)
    model = build_model(config, image_size=prepared.image_size, training_texts=prepared.training_texts)
    model.to(accelerator.device)
    save_assets(model, run.assets)
    save_weights(model, run.folder / "frozen.safetensors", frozen=True)
    features = frozen_features(prepared, model.visual, model.text, device=accelerator.device)
    training = _split(model, prepared, windows, features, accelerator.device)
    validation = _split(model, prepared, prepared.windows("validation"), features, accelerator.device)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(model, options, alone=accelerator.num_processes == 1)
    steps_an_epoch = math.ceil(len(training) / options.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _rate(options, steps_an_epoch * options.epochs))
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    order = np.random.default_rng(options.seed)
    best = math.inf
    display.begin(model, epochs=options.epochs, steps_an_epoch=steps_an_epoch, windows=len(training))

    try:
        for epoch in range(1, options.epochs + 1):
            started = time.perf_counter()
            sums: dict[str, float] = {}
            model.train()
            for step, indices in enumerate(_shuffled(len(training), options.batch_size, order), start=1):
                context, target = training.contexts.batch(indices), training.targets.batch(indices)
                with accelerator.autocast():
                    losses = wrapped(context, target)
                values = _values(losses, run, epoch, step)
                accelerator.backward(losses["loss"])
                if options.clip_gradient:
                    accelerator.unscale_gradients(optimizer)
                    clip_gradient(trained, largest=options.clip_gradient)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                for name, value in values.items():
                    sums[name] = sums.get(name, 0.0) + value * len(indices)
                display.step(epoch, step, values)
            seconds = time.perf_counter() - started
            row = EpochRow(
                epoch=epoch,
                steps=epoch * steps_an_epoch,
                train={name: value / len(training) for name, value in sums.items()},
                validation=_validate(model, validation, options.batch_size),
                learning_rate=float(schedule.get_last_lr()[0]),
                windows_per_second=len(training) / seconds,
                seconds=seconds,
            )
            run.append_history(asdict(row))
            _checkpoint(model, run, "last", row)
            # Without a validation split the last weights are the only ones there is a reason to prefer.
            if row.validation and row.validation["loss"] < best:
                best = row.validation["loss"]
                _checkpoint(model, run, "best", row)
            display.epoch(row, best=bool(row.validation) and best == row.validation["loss"])
    except KeyboardInterrupt:
        with replacing_folder(run.checkpoint("last")) as folder:
            save_weights(model, folder / "model.safetensors", frozen=False)
        raise
    run.update(status="finished", ended=now())
    return model.eval()


def _precision(options: TrainingOptions, device: torch.device) -> str:
    if options.precision != "auto":
        return options.precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "no"


def _split(model: StoryModel, prepared: Prepared, windows: Windows, features: Features, device: torch.device) -> _Split:
    contexts = Contexts(
        prepared.frames, windows, visual=model.visual, text=model.text, features=features, device=device
    )
    return _Split(contexts, Targets(prepared.frames, windows, decoder=model.text_decoder, device=device))


def _rate(options: TrainingOptions, steps: int) -> Callable[[int], float]:
    """Make the learning rate as a share of its highest, by step: linear warm-up, then constant or a cosine."""
    warmup = math.ceil(options.warmup * steps)

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if options.schedule == "constant":
            return 1.0
        done = (step - warmup) / max(1, steps - warmup)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    return share


def _shuffled(count: int, size: int, order: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    indices = order.permutation(count)
    for start in range(0, count, size):
        yield indices[start : start + size]


def _values(losses: Mapping[str, Tensor], run: Run, epoch: int, step: int) -> dict[str, float]:
    """Bring the losses to the host in one transfer. Raises VsrError if one is not a finite number."""
    values = dict(zip(losses, torch.stack([loss.detach().float() for loss in losses.values()]).tolist(), strict=True))
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        kept = run.checkpoint("last") if run.checkpoint("last").is_dir() else "none yet"
        raise VsrError(
            f"{run.folder}: the {broken[0]} loss is {values[broken[0]]} at epoch {epoch}, step {step}; "
            f"try a smaller --set training.learning_rate (last good checkpoint: {kept})"
        )
    return values


@torch.no_grad()
def _validate(model: StoryModel, split: _Split, batch_size: int) -> dict[str, float]:
    """Give the mean losses over a split, teacher-forced; empty where the split is."""
    model.eval()
    sums: dict[str, float] = {}
    # One fixed shuffle: windows in their order are of one story, whose frames make harder negatives than training's.
    for indices in _shuffled(len(split), batch_size, np.random.default_rng(0)):
        losses = model(split.contexts.batch(indices), split.targets.batch(indices))
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss) * len(indices)
    return {name: value / len(split) for name, value in sums.items()}


def _checkpoint(model: StoryModel, run: Run, which: str, row: EpochRow) -> None:
    with replacing_folder(run.checkpoint(which)) as folder:
        save_weights(model, folder / "model.safetensors", frozen=False)
        write_json(folder / "epoch.json", asdict(row))
