"""`vsr train`: a model out of prepared data, in one go or in several."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.experiment import TrainConfig, resolve_recorded
from ..console import say, warn
from ..distributed_env import is_main, process_count
from ..errors import VsrError
from ..files.atomic import write_json
from ..plugin.registry import Registry
from ..runs.opening import RUNS, created_run, open_to_resume, remove_leftovers, versions
from ..runs.run import Run, now
from ..training.trackers import check_installed
from .requirements import collected, objective_mistakes, provide
from .settings import EMBEDDED, default_preset


def find_data(folder: Path | None) -> Path | None:
    """Return the prepared folder to train on: the one named, or the newest under data/; None if there is none."""
    from ..data.prepared import newest_prepared

    return folder or newest_prepared()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what a prepared folder says of itself. Raises VsrError if it is not one."""
    from ..data.prepared import open_prepared

    return open_prepared(folder).manifest


def check_embedded(preset: str) -> None:
    """Raise VsrError if a training with nothing prepared starts from a preset that is not the embedded stories' own.

    It is probably meant for others, and these would be prepared in vain.
    """
    if preset != default_preset(EMBEDDED)[0]:
        raise VsrError(
            f"--preset {preset}: nothing is prepared under data/ yet; run 'vsr prepare MY_STORIES/ --preset {preset}' "
            f"for your own stories, or 'vsr prepare --preset {preset}' for the embedded ones; then repeat this command"
        )
    if process_count() > 1:
        raise VsrError("data/: nothing is prepared yet; run 'vsr prepare' once before several processes train")


def prepare_embedded(found: Registry, *, show: bool) -> Path:
    """Prepare the embedded dataset, since there is nothing else to train on, and show on stdout what it holds."""
    from .prepare import default_folder, prepare_config, run_prepare, show_prepared

    preset, _ = default_preset(EMBEDDED)
    say(f"nothing is prepared under data/ yet: preparing the embedded dataset, {EMBEDDED}, with the {preset} preset")
    config = prepare_config(found, dataset=EMBEDDED, preset=preset, flags={}, assignments=[])
    folder = default_folder(None, EMBEDDED)
    prepared = run_prepare(config, None, folder)
    if show:
        show_prepared(prepared)
    return folder


def provide_parts(config: TrainConfig) -> None:
    """Fetch what the parts of a model lack. Raises VsrError with a line for each thing that cannot be had."""
    mistakes = collected(lambda: check_installed(config.training.track))
    if is_main():
        provide(config.parts.items(), mistakes=[*mistakes, *objective_mistakes(config.objective)])


def say_other_preset(config: TrainConfig, data: Path) -> None:
    """Report that a training starts from another preset than its data was prepared with, and what stays as it is."""
    manifest = read_manifest(data)
    if config.preset != manifest["preset"]:
        size = manifest["data"]["image_size"]
        say(
            f"preset {config.preset}, on data prepared with preset {manifest['preset']}: images stay {size}x{size} "
            f"pixels and windows as they are; 'vsr prepare --preset {config.preset}' makes data for it"
        )


def run_train(config: TrainConfig, data: Path, out: Path | None) -> Run:
    """Train, showing the losses as they fall. Gives the finished run."""
    provide_parts(config)
    record = config.record() | {"data": data_facts(read_manifest(data))}
    distributions = {section: choice.provided.distribution for section, choice in config.parts.items()}
    if not is_main():
        return _train(config, data, None)  # the main process makes the folder, and tells the others what it is called
    with created_run(out, config=record, data=data, distributions=distributions) as run:
        return _train(config, data, run)


def resume_train(found: Registry, folder: Path, *, data: Path | None, epochs: int | None) -> Run:
    """Go on with a run from its last checkpoint, or from its start where there is none yet. Gives the finished run.

    Its settings are the run's own; `epochs` may be more than it has. Raises VsrError if they are fewer, or if the data
    is not what the run was trained on.
    """
    run = open_to_resume(folder)
    with run.alone() if is_main() else nullcontext():
        return _resume(found, run, data=data, epochs=epochs)


def _resume(found: Registry, run: Run, *, data: Path | None, epochs: int | None) -> Run:
    folder, record, facts = run.folder, run.config(), run.facts()
    config = resolve_recorded(
        found, record, where=str(folder / "config.json"), distributions=facts["distributions"].values()
    )
    if epochs is not None and epochs < config.training.epochs:
        raise VsrError(
            f"--epochs {epochs}: {folder} is to have {config.training.epochs}; a run that is resumed can only have more"
        )
    if facts["status"] == "finished" and (epochs is None or epochs == config.training.epochs):
        say(f"{folder} is finished: there is nothing to do; --epochs N, above {config.training.epochs}, trains on")
        return run
    check_installed(config.training.track)
    data = _data_of(run, record, data)
    if not run.checkpoint("last").is_dir():  # its parts are built anew
        provide_parts(config)
    config = replace(config, training=config.training.model_copy(update={"epochs": epochs or config.training.epochs}))
    other = {name: version for name, version in versions().items() if facts["versions"].get(name) != version}
    if other:
        listed = ", ".join(f"{name} {facts['versions'].get(name, 'none')}, now {new}" for name, new in other.items())
        warn(f"the run began with other versions ({listed}): what follows may differ in the last digits")
    return _train(config, data, run, resumed=True)


def _data_of(run: Run, record: Mapping[str, Any], folder: Path | None) -> Path:
    """Find the data of a run to resume. Raises VsrError if it is gone or no longer the same."""
    data = folder or Path(run.facts()["data"])
    if not data.is_dir():
        raise VsrError(f"{data}: the data that {run.folder} is trained on is not there; name it with --data DIR")
    if read_manifest(data)["fingerprint"] != record["data"]["fingerprint"]:
        raise VsrError(
            f"{data}: this is not the data that {run.folder} was trained on (its fingerprint differs); "
            "name that with --data DIR, or train anew"
        )
    return data


def _train(config: TrainConfig, data: Path, run: Run | None, *, resumed: bool = False) -> Run:
    """Train a run whose lock the main process holds; None in a process that has yet to learn which one it is."""
    with ExitStack() as stack:
        if run and is_main():
            stack.enter_context(_leaving_nothing(run, resumed=resumed))
            stack.enter_context(run.recording_failure())
            if resumed:
                _note_resumption(run, config, data)
            say(f"run {run.folder}, on {data}")
        from ..data.prepared import open_prepared
        from ..report.epochs import TrainingDisplay
        from ..training.distributed import precision_of, report_once, same_run, start
        from ..training.loop import train
        from ..training.trackers import tracking

        stack.enter_context(report_once())
        accelerator = start(config.training)
        run = same_run(run)
        stack.enter_context(_saying_how_to_go_on(run))
        if is_main():
            run.update(device=str(accelerator.device), precision=precision_of(accelerator))
            stack.enter_context(_drawing_curves(run))
        trackers = stack.enter_context(tracking(config.training.track if is_main() else (), run, config.record()))
        display = stack.enter_context(TrainingDisplay(watched=config.training.best_metric))
        prepared = open_prepared(data)
        train(config, prepared, run=run, display=display, trackers=trackers, accelerator=accelerator)
    return run


@contextmanager
def _leaving_nothing(run: Run, *, resumed: bool) -> Iterator[None]:
    """Remove a new run that is refused before anything of it was built: it would hold nothing but the refusal."""
    try:
        yield
    except VsrError:
        if not resumed and not run.assets.exists():
            shutil.rmtree(run.folder, ignore_errors=True)
            with suppress(OSError):  # other runs lie there, or it is not ours
                run.folder.parent.rmdir() if run.folder.parent == RUNS else None
        raise


def _note_resumption(run: Run, config: TrainConfig, data: Path) -> None:
    """Write into the run that it goes on from here, for how long, and on which data."""
    remove_leftovers(run)
    write_json(run.folder / "config.json", run.config() | {"training": config.training.model_dump(mode="json")})
    resumed = [*run.facts().get("resumed", []), {"at": now(), "epochs": config.training.epochs, "versions": versions()}]
    run.update(status="running", ended=None, problem=None, data=str(data.resolve()), resumed=resumed)


@contextmanager
def _drawing_curves(run: Run) -> Iterator[None]:
    """Draw the curves however training ends, unless someone presses Ctrl-C again, to have the prompt back at once."""
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
        warn(f"the curves cannot be drawn ({error}); what was trained is not touched by that")


@contextmanager
def _saying_how_to_go_on(run: Run) -> Iterator[None]:
    from ..training.distributed import lost_process
    from ..training.graceful_shutdown import Interrupted

    command = f"vsr train --resume {run.folder}"
    try:
        yield
    except Interrupted as stop:
        say(f"interrupted after step {stop.step} of epoch {stop.epoch}, and all is kept; go on with: {command}")
        raise
    except KeyboardInterrupt:
        if run.checkpoint("last").is_dir():
            say(f"stopped at once; go on from the last checkpoint with: {command}")
        raise
    except RuntimeError as error:
        if not (reason := lost_process(error)):
            raise
        raise VsrError(
            f"{run.folder}: another process of this training has ended or cannot be reached ({reason}); "
            f"resume from the last checkpoint with '{command}'"
        ) from error


def data_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run must know of its data when the data is gone."""
    return {
        **manifest["data"],
        "fingerprint": manifest["fingerprint"],
        "dataset": manifest["dataset"]["name"],
    }
