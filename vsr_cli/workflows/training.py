"""Train a model into a run folder, or resume a run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.experiment import TrainConfig, resolve_recorded
from ..console import say, warn
from ..data.prepared import open_prepared
from ..distributed_env import is_main
from ..errors import VsrError, collect_errors
from ..files.atomic import write_json
from ..plugin.registry import Registry
from ..plugin.requirements import objective_mistakes, provide
from ..runs.opening import created_run, open_to_resume, remove_leftovers, versions
from ..runs.run import RUNS, Run, now
from ..training.trackers import check_installed


def provide_parts(config: TrainConfig) -> None:
    """Download what the components lack. Raises VsrError with a line for each requirement that cannot be met."""
    mistakes = collect_errors(lambda: check_installed(config.training.track))
    if is_main():
        provide(config.parts.items(), mistakes=[*mistakes, *objective_mistakes(config.objective)])


def run_train(config: TrainConfig, data: Path, out: Path | None) -> Run:
    """Train, showing the losses, and return the finished run."""
    provide_parts(config)
    record = config.record() | {"data": data_facts(open_prepared(data).manifest)}
    distributions = {section: choice.provided.distribution for section, choice in config.parts.items()}
    if not is_main():
        return _train(config, data, None)  # the main process makes the folder and sends its name to the others
    with created_run(out, config=record, data=data, distributions=distributions) as run:
        return _train(config, data, run)


def resume_train(registry: Registry, folder: Path, *, data: Path | None, epochs: int | None) -> Run:
    """Resume a run from its last checkpoint, or its start where there is none yet, and return the finished run.

    The settings are the run's own; `epochs` may be more than it has. Raises VsrError if they are fewer, or if the data
    is not what the run was trained on.
    """
    run = open_to_resume(folder)
    with run.alone() if is_main() else nullcontext():
        return _resume(registry, run, data=data, epochs=epochs)


def _resume(registry: Registry, run: Run, *, data: Path | None, epochs: int | None) -> Run:
    folder, record, facts = run.folder, run.config(), run.facts()
    config = resolve_recorded(
        registry, record, where=str(folder / "config.json"), distributions=facts["distributions"].values()
    )
    if epochs is not None and epochs < config.training.epochs:
        raise VsrError(f"--epochs {epochs}: {folder} has {config.training.epochs}; a resumed run can only have more")
    if facts["status"] == "finished" and (epochs is None or epochs == config.training.epochs):
        say(f"{folder} is finished: nothing to do; --epochs N, above {config.training.epochs}, trains on")
        return run
    check_installed(config.training.track)
    data = _data_of(run, record, data)
    if not run.checkpoint("last").is_dir():  # its components are built anew
        provide_parts(config)
    config = replace(config, training=config.training.model_copy(update={"epochs": epochs or config.training.epochs}))
    other = {name: version for name, version in versions().items() if facts["versions"].get(name) != version}
    if other:
        listed = ", ".join(f"{name} {facts['versions'].get(name, 'none')}, now {new}" for name, new in other.items())
        warn(f"the run began with other versions ({listed}), so its further epochs may differ in the last digits")
    return _train(config, data, run, resumed=True)


def _data_of(run: Run, record: Mapping[str, Any], folder: Path | None) -> Path:
    """Find the data of a run to resume. Raises VsrError if it is gone or no longer the same."""
    data = folder or Path(run.facts()["data"])
    if not data.is_dir():
        raise VsrError(f"{data}: the data of {run.folder} does not exist any more; name its folder with --data DIR")
    if open_prepared(data).manifest["fingerprint"] != record["data"]["fingerprint"]:
        raise VsrError(
            f"{data}: is not the data that {run.folder} was trained on (its fingerprint differs); "
            "name the right folder with --data DIR, or train a new run"
        )
    return data


def _train(config: TrainConfig, data: Path, run: Run | None, *, resumed: bool = False) -> Run:
    """Train a run whose lock the main process holds; None in a process that has not received its name yet."""
    with ExitStack() as stack:
        if run and is_main():
            stack.enter_context(_removing_refused(run, resumed=resumed))
            stack.enter_context(run.recording_failure())
            if resumed:
                _record_resumption(run, config, data)
            say(f"run {run.folder}, on {data}")
        from ..report.epochs import TrainingDisplay
        from ..training.distributed import precision_of, report_once, same_run, start
        from ..training.loop import train
        from ..training.trackers import tracking

        stack.enter_context(report_once())
        accelerator = start(config.training)
        run = same_run(run)
        stack.enter_context(_reporting_how_to_resume(run))
        if is_main():
            run.update(device=str(accelerator.device), precision=precision_of(accelerator))
            stack.enter_context(_drawing_curves(run))
        trackers = stack.enter_context(tracking(config.training.track if is_main() else (), run, config.record()))
        display = stack.enter_context(TrainingDisplay(watched=config.training.best_metric))
        prepared = open_prepared(data)
        train(config, prepared, run=run, display=display, trackers=trackers, accelerator=accelerator)
    return run


@contextmanager
def _removing_refused(run: Run, *, resumed: bool) -> Iterator[None]:
    """Remove the folder of a new run that is refused before anything was written to it but the refusal."""
    try:
        yield
    except VsrError:
        if not resumed and not run.assets.exists():
            shutil.rmtree(run.folder, ignore_errors=True)
            with suppress(OSError):  # it holds other runs, or is not ours
                run.folder.parent.rmdir() if run.folder.parent == RUNS else None
        raise


def _record_resumption(run: Run, config: TrainConfig, data: Path) -> None:
    """Record in the run folder that it is resumed, for how many epochs, and on which data."""
    remove_leftovers(run)
    write_json(run.folder / "config.json", run.config() | {"training": config.training.model_dump(mode="json")})
    resumed = [*run.facts().get("resumed", []), {"at": now(), "epochs": config.training.epochs, "versions": versions()}]
    run.update(status="running", ended=None, problem=None, data=str(data.resolve()), resumed=resumed)


@contextmanager
def _drawing_curves(run: Run) -> Iterator[None]:
    """Draw the curves however training ends, except after a second Ctrl-C, which ends at once."""
    from ..training.graceful_shutdown import Interrupted

    try:
        yield
    except (Interrupted, VsrError):
        _draw_curves(run)
        raise
    _draw_curves(run)


def _draw_curves(run: Run) -> None:
    from ..report.charts import draw_curves

    try:
        if path := draw_curves(run):
            say(f"curves {path}")
    except (VsrError, OSError) as error:
        warn(f"the curves cannot be drawn ({error}); the run itself is complete")


@contextmanager
def _reporting_how_to_resume(run: Run) -> Iterator[None]:
    from ..training.distributed import lost_process
    from ..training.graceful_shutdown import Interrupted

    command = f"vsr train --resume {run.folder}"
    try:
        yield
    except Interrupted as stop:
        say(f"interrupted after step {stop.step} of epoch {stop.epoch}, nothing is lost; resume with: {command}")
        raise
    except KeyboardInterrupt:
        if run.checkpoint("last").is_dir():
            say(f"stopped at once; resume from the last checkpoint with: {command}")
        raise
    except RuntimeError as error:
        if not (reason := lost_process(error)):
            raise
        raise VsrError(
            f"{run.folder}: another process of this training has ended or cannot be reached ({reason}); "
            f"resume from the last checkpoint with '{command}'"
        ) from error


def data_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about the data that a run records, for when the data is gone."""
    return {
        **manifest["data"],
        "fingerprint": manifest["fingerprint"],
        "dataset": manifest["dataset"]["name"],
    }
