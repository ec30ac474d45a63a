"""The training loop: a function, read from top to bottom."""

from __future__ import annotations

import time
from dataclasses import asdict

from accelerate import Accelerator
from accelerate.utils import set_seed

from ..config.experiment import TrainConfig
from ..config.schema import ONLY_IF_WEIGHED
from ..console import say
from ..data.features import frozen_features, warn_truncated_texts
from ..data.prepared import Prepared
from ..errors import VsrError
from ..model.building import build_model, save_assets
from ..model.losses.means import open_split
from ..model.story_model import StoryModel
from ..model.weights import parameter_counts, rebuild_model, save_weights
from ..runs.history import EpochRow, Row, read_history
from ..runs.run import FROZEN, Run, now
from .allocator import tune_allocator
from .checkpoints import Checkpoints
from .compiling import compiled
from .display import TrainingDisplay
from .distributed import add_gradients, company_of, copy_main, exchange, exchange_objects, main_process_first, meet
from .finite import FiniteChecks
from .fit_statistics import fit_to_training
from .graceful_shutdown import Interrupted, StopRequest, graceful_shutdown
from .meeting import Meeting
from .optimizer import clip_gradient, gradient_norm, make_optimizer
from .progress import Progress, in_parts, shuffled
from .schedule import rate_share, set_rate
from .step import Measurer
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
) -> StoryModel:
    """Train a model on prepared data and leave everything in the run folder.

    Goes on from the run's last checkpoint, if there is one. Raises Interrupted after a signal has asked to stop, when
    all is kept; VsrError if there is nothing to train on or a loss, gradient or weight is no longer finite; OthersLost
    if another process of the same training is gone.
    """
    options = config.training
    if not len(prepared.windows("train")):
        raise VsrError(f"{prepared.folder}: no window is in the train split; prepare more stories")
    if options.patience and not len(prepared.windows("validation")):
        raise VsrError(f"training.patience: {prepared.folder} has no validation split to watch; set it to 0")
    watched = options.best_metric
    if watched in ONLY_IF_WEIGHED and not getattr(config.objective, watched):
        raise VsrError(
            f"training.best_metric: {watched} is measured only where it has a weight; add --set objective.{watched}=1"
        )
    tune_allocator()
    set_seed(options.seed)
    resuming = _seen_alike(run.checkpoint("last").is_dir(), run, prepared, accelerator)
    with main_process_first(accelerator):
        model = _build(config, prepared, run, resuming=resuming).to(accelerator.device)
    copy_main(model, accelerator)
    features = frozen_features(
        prepared,
        model.visual,
        model.text,
        device=accelerator.device,
        options=config.features,
        splits=("train", "validation"),
        company=company_of(accelerator),
    )
    if not resuming:
        if config.parts["text"].record() != prepared.manifest["text"]:  # of that encoder, 'vsr prepare' has told
            warn_truncated_texts(features.tokens)
        fit_to_training(model, prepared, features, device=accelerator.device)
        copy_main(model, accelerator)  # what was fitted may differ by rounding between machines
        if accelerator.is_main_process:  # what never changes is kept once
            save_assets(model, run.assets)
            save_weights(model, run.folder / FROZEN, frozen=True)
            run.update(parameters=parameter_counts(model))
            run.record_checksums()
    training = open_split(model, prepared, "train", features, device=accelerator.device)
    validation = open_split(model, prepared, "validation", features, device=accelerator.device)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = accelerator.prepare(make_optimizer(model, options, alone=accelerator.num_processes == 1))
    finite = FiniteChecks(model, config, run)
    checkpoints = Checkpoints(run, model, optimizer, accelerator, finite)
    if accelerator.num_processes > 1:
        set_seed(options.seed + accelerator.process_index)  # what one process drops out another need not
    together = options.batch_size * accelerator.num_processes
    progress = Progress(windows_per_step=together * options.gradient_accumulation_steps, windows_per_pass=together)
    if resuming:
        progress = checkpoints.restore_last()
    earlier: list[Row] = []
    if accelerator.is_main_process:
        run.cut_history(progress.history_bytes)
        earlier += read_history(run.history, epochs=progress.epoch - 1)
    meeting = Meeting(accelerator)
    if accelerator.num_processes > 1:
        model.alignment.gather = meeting
    weights = model.weights.model_dump()
    measurer = Measurer(model, config.model.width, accelerator, progress, meeting)
    steps = progress.steps_an_epoch(len(training))
    display.begin(
        parameter_counts(model),
        epochs=options.epochs,
        steps_per_epoch=steps,
        windows=len(training),
        processes=accelerator.num_processes,
        taken=(progress.epoch - 1) * steps + progress.step,
        earlier=earlier,
    )

    meet(accelerator)  # the main process has had files to write
    kept = time.monotonic()
    with graceful_shutdown() as wish, compiled(model, wanted=options.compile):

        def stop_if_asked() -> None:
            _keep_and_stop(wish, checkpoints, progress, due=False)

        for epoch in range(progress.epoch, options.epochs + 1):
            if options.patience and progress.epochs_since_best >= options.patience:
                say(f"ending after epoch {epoch - 1}: {options.best_metric} no better for {options.patience} epochs")
                break
            model.train()
            order = shuffled(len(training), seed=options.seed, epoch=epoch)
            for indices in in_parts(order, progress.windows_per_step, start=progress.step):
                started = time.perf_counter()
                losses = measurer.measure(training, indices)
                finite.losses(losses, epoch=epoch, step=progress.step + 1)
                add_gradients(trained, accelerator)
                accelerator.unscale_gradients(optimizer)
                norm = gradient_norm(trained)
                finite.gradient(norm, accelerator, epoch=epoch, step=progress.step + 1)
                if options.max_grad_norm:
                    clip_gradient(trained, norm, largest=options.max_grad_norm)
                taken = (epoch - 1) * steps + progress.step
                set_rate(optimizer, rate_share(options, step=taken, steps=steps * options.epochs))
                optimizer.step()
                optimizer.zero_grad()
                progress.losses.add(losses, training, indices)
                progress.took_step(seconds=time.perf_counter() - started)
                so_far = progress.losses.means(weights)
                display.step(epoch, progress.step, so_far, learning_rate=optimizer.param_groups[0]["lr"])
                trackers.log({"batch": losses}, step=taken + 1)
                due = time.monotonic() - kept >= 60 * options.checkpoint_minutes
                if _keep_and_stop(wish, checkpoints, progress, due=due):
                    kept = time.monotonic()

            finite.weights(optimizer, epoch=epoch)
            held_out = validate(model, validation, accelerator, progress=progress, after_batch=stop_if_asked)
            finite.validation(held_out, epoch=epoch)
            row = EpochRow(
                epoch=epoch,
                steps=epoch * steps,
                train=progress.losses.means(weights),
                validation=held_out,
                learning_rate=float(optimizer.param_groups[0]["lr"]),
                windows_per_second=len(training) / progress.seconds,
                seconds=progress.seconds,
            )
            length = run.append_history(asdict(row)) if accelerator.is_main_process else 0
            # Without a validation split the last weights are the only ones there is a reason to prefer.
            best = progress.took_epoch(held_out.get(options.best_metric), history_bytes=length)
            if best:
                checkpoints.save_best(row)
            checkpoints.save_last(progress, row)
            kept = time.monotonic()
            display.epoch(row, best=best)
            trackers.log(asdict(row), step=row.steps)
    if accelerator.is_main_process:
        run.update(status="finished", ended=now(), epochs_trained=progress.epoch - 1)
    accelerator.end_training()
    return model.eval()


def _build(config: TrainConfig, prepared: Prepared, run: Run, *, resuming: bool) -> StoryModel:
    """Build the model, from scratch or from the last checkpoint."""
    if resuming:
        return rebuild_model(run, config, image_size=prepared.image_size, steps=prepared.context_frames, which="last")
    return build_model(
        config,
        image_size=prepared.image_size,
        steps=prepared.context_frames,
        training_texts=prepared.training_texts,
    )


def _seen_alike(resuming: bool, run: Run, prepared: Prepared, accelerator: Accelerator) -> bool:
    """Return whether there is a checkpoint to go on from. Raises VsrError if processes see different folders."""
    seen = exchange_objects((resuming, prepared.fingerprint), accelerator)
    for index, (has_checkpoint, fingerprint) in enumerate(seen):
        if fingerprint != seen[0][1]:
            raise VsrError(f"{prepared.folder}: process {index} has other data there than the main one; copy it anew")
        if has_checkpoint != seen[0][0]:
            raise VsrError(f"{run.folder}: process {index} does not see this folder; resume where all machines do")
    return resuming


def _keep_and_stop(wish: StopRequest, checkpoints: Checkpoints, progress: Progress, *, due: bool) -> bool:
    """Write the last checkpoint where it is due. Gives whether it was; raises Interrupted if someone wants to stop."""
    everyones = exchange([float(wish.signal), float(due)], checkpoints.accelerator)
    signal = int(max(wanted for wanted, _ in everyones))
    due = bool(everyones[0][1])  # the main process's clock is the one that counts
    if signal or due:
        checkpoints.save_last(progress)
    if signal:
        checkpoints.accelerator.end_training()
        raise Interrupted(signal, epoch=progress.epoch, step=progress.step)
    return due
