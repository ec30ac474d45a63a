"""The training loop: a function that reads from top to bottom. One step is in `step.py`."""

from __future__ import annotations

import time
from dataclasses import asdict
from functools import partial

from accelerate import Accelerator
from accelerate.utils import set_seed

from ..config.experiment import TrainConfig
from ..console import say
from ..data.prepared import Prepared
from ..model.loss_means import with_weight
from ..model.weights import parameter_counts
from ..quantities import counted
from ..runs.history import EpochRow, Row, read_history
from ..runs.run import Run
from .checkpoints import Checkpoints
from .display import TrainingDisplay
from .distributed import wait_for_everyone
from .finite_checks import FiniteChecks
from .graceful_shutdown import graceful_shutdown
from .memory import tune_allocator
from .optimizer import make_optimizer, rate_factor
from .progress import Progress, in_parts, shuffled
from .setup import set_up
from .step import StepRunner, compiled
from .trackers import Trackers
from .validation import validate


def train(
    config: TrainConfig,
    prepared: Prepared,
    *,
    run: Run,
    display: TrainingDisplay,
    trackers: Trackers,
    accelerator: Accelerator,
) -> None:
    """Train a model on prepared data and write everything to the run folder.

    Resumes from the run's last checkpoint, if there is one. Raises Interrupted after a signal to stop, when a
    checkpoint is written; VsrError if there is nothing to train on, or a loss, gradient or weight is not finite.
    """
    options = config.training
    tune_allocator()
    set_seed(options.seed)
    setup = set_up(config, prepared, run, accelerator)
    model, training = setup.model, setup.training

    # In several processes the main one's weights are copied to the others, and gradients will be averaged.
    wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, options))
    checks = FiniteChecks(model, config, run)
    checkpoints = Checkpoints(run, model, optimizer, accelerator, checks)
    if accelerator.num_processes > 1:
        set_seed(options.seed + accelerator.process_index)  # each process has its own dropout
    windows_per_pass = options.batch_size * accelerator.num_processes
    progress = Progress(
        windows_per_step=windows_per_pass * options.gradient_accumulation_steps, windows_per_pass=windows_per_pass
    )
    if setup.resuming:
        progress = checkpoints.restore_last()
    earlier: list[Row] = []
    if accelerator.is_main_process:
        run.cut_history(progress.history_bytes)
        earlier += read_history(run.history, epochs=progress.epoch - 1)
    steps = progress.steps_per_epoch(len(training))
    display.begin(
        parameter_counts(model),
        epochs=options.epochs,
        steps_per_epoch=steps,
        windows=len(training),
        processes=accelerator.num_processes,
        taken=(progress.epoch - 1) * steps + progress.step,
        earlier=earlier,
    )
    runner = StepRunner(
        model=model,
        wrapped=wrapped,
        optimizer=optimizer,
        accelerator=accelerator,
        options=options,
        progress=progress,
        checks=checks,
    )
    weights = config.objective.weights
    # A term whose default weight is set to 0 is still computed, as evaluation does, but nothing is trained on it.
    shown = partial(with_weight, weights=weights, also=options.best_metric)
    wait_for_everyone(accelerator)  # the main process has had files to write
    saved = time.monotonic()
    with graceful_shutdown() as request, compiled(model, enabled=options.compile):
        for epoch in range(progress.epoch, options.epochs + 1):
            if options.patience and progress.epochs_since_best >= options.patience:
                say(
                    f"ending after epoch {epoch - 1}: {options.best_metric} no better for "
                    f"{counted(options.patience, 'epoch')}"
                )
                break
            model.train()
            order = shuffled(len(training), seed=options.seed, epoch=epoch)
            for windows in in_parts(order, progress.windows_per_step, start=progress.step):
                started = time.perf_counter()
                taken = (epoch - 1) * steps + progress.step
                rate = rate_factor(options, step=taken, steps=steps * options.epochs)
                losses = runner.run(training, windows, rate=rate)
                progress.losses.add(losses, training, windows)
                progress.took_step(seconds=time.perf_counter() - started)
                means = shown(progress.losses.means(weights))
                display.step(epoch, progress.step, means, learning_rate=options.learning_rate * rate)
                trackers.log({"batch": shown(losses)}, step=taken + 1)
                due = time.monotonic() - saved >= 60 * options.checkpoint_minutes
                if checkpoints.save_if(progress, request, due=due):
                    saved = time.monotonic()

            checks.weights(optimizer, epoch=epoch)
            validated = validate(
                model,
                setup.validation,
                accelerator,
                progress=progress,
                after_batch=lambda: checkpoints.save_if(progress, request, due=False),
            )
            checks.validation(validated, epoch=epoch)
            row = EpochRow(
                epoch=epoch,
                steps=epoch * steps,
                train=shown(progress.losses.means(weights)),
                validation=shown(validated),
                learning_rate=float(optimizer.param_groups[0]["lr"]),
                windows_per_second=len(training) / progress.seconds,
                seconds=progress.seconds,
            )
            length = run.append_history(asdict(row)) if accelerator.is_main_process else 0
            # Without a validation split there is no best checkpoint.
            best = progress.took_epoch(validated.get(options.best_metric), history_bytes=length)
            if best:
                checkpoints.save_best(row)
            checkpoints.save_last(progress, row)
            saved = time.monotonic()
            display.epoch(row, best=best)
            trackers.log(asdict(row), step=row.steps)
    if accelerator.is_main_process:
        run.finish(epochs=progress.epoch - 1)
    accelerator.end_training()
