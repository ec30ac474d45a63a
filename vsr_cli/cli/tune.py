"""`vsr tune`: search for the settings with the lowest validation loss."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..api import missing_package
from ..console import out as console
from ..console import print_json, say
from ..errors import VsrError
from ..files.atomic import write_json
from ..quantities import counted
from ..workflows.settings import load_registry, resolve_train_command
from ..workflows.stories import find_data
from .arguments import Components, Data, JobSettings, Json, LauncherName, Out, Settings, finite
from .parsing.commands import examples
from .parsing.completion import complete_key
from .train import check_embedded, prepare_embedded

if TYPE_CHECKING:
    from ..config.experiment import TrainConfig
    from ..plugin.registry import Registry
    from ..tuning.folder import Search, Tuning
    from ..tuning.space import Dimension

NONE_FINISHED = 1
"""The exit code if no trial has finished."""
SPREAD_SECTIONS = ("objective",)
"""Sections that decide what the loss "loss" is the sum of."""


@examples(
    "vsr tune --search training.learning_rate=1e-4..1e-2:log model.width=128,256 --trials 20",
    "vsr tune --search temporal.name=gru,lstm temporal.layers=1..3 --set training.best_metric=text --max-minutes 120",
    "vsr tune --search training.batch_size=8..64:log --trials 40 --jobs 4 --launcher ray --job num_gpus=1",
)
def tune(
    search: Annotated[
        list[str],
        typer.Option(
            "--search",
            metavar="SECTION.KEY=VALUES...",
            help="A setting to search: a range LOW..HIGH (:log, :int after it), or values separated by commas.",
            autocompletion=complete_key,
        ),
    ],
    trials: Annotated[
        int, typer.Option("--trials", metavar="N", min=1, max=100_000, help="Trials in all, with those already done.")
    ] = 20,
    data: Data = None,
    components: Components = Components(),  # noqa: B008 - frozen
    settings: Settings = Settings(),  # noqa: B008
    out: Out = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, max=10_000, help="Trials at the same time.")] = 1,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", metavar="M", min=0, callback=finite, help="Start no trial after this time."),
    ] = None,
    launcher: LauncherName = "local",
    job: JobSettings = None,
    as_json: Json = False,
) -> None:
    """Search for the settings with the lowest validation loss, by Optuna; the test split is never read.

    A trial is a training run. One that is worse than the median of the others after an epoch is stopped. The same
    command resumes a search that was interrupted, or adds trials to it.
    """
    registry = load_registry()
    if missing_package("optuna"):
        raise VsrError("tune: needs optuna; pip install 'vsr-cli[tune]'")
    asked = Asked(words=search, components=components, settings=settings)
    result = run_tune(
        registry,
        asked,
        data=data,
        out=out,
        trials=trials,
        jobs=jobs,
        minutes=max_minutes,
        launcher=launcher,
        job=job or [],
    )
    print_json(result) if as_json else show_tuning(result)
    if result["best"] is None:
        raise typer.Exit(NONE_FINISHED)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was typed about the space of a search, and about the settings that all trials share."""

    words: Sequence[str]
    components: Components
    settings: Settings


def run_tune(
    registry: Registry,
    asked: Asked,
    *,
    data: Path | None,
    out: Path | None,
    trials: int,
    jobs: int,
    minutes: float | None,
    launcher: str,
    job: Sequence[str],
) -> dict[str, Any]:
    """Run the trials that are not done yet, and return the result, as result.json has it.

    Raises VsrError for a mistake in any of the settings, before anything is trained; SystemExit after a signal.
    """
    from ..ablation.engines import check_launcher, make_engine
    from ..config.experiment import resolve_recorded
    from ..tuning.folder import Tuning, default_folder, with_assignments

    check_launcher("tune", launcher, job)
    search, data = _make_search(registry, asked, data)
    tuning = Tuning(out or default_folder(search))

    def settings_of(assignments: Sequence[str]) -> Mapping[str, Any]:
        return with_assignments(registry, search.settings, assignments).record()

    with tuning.alone():
        tuning.begin(search, data)
        from ..tuning.results import best_settings, results
        from ..tuning.search import Trials
        from ..tuning.study import Study

        seed = resolve_recorded(registry, search.settings, where="tune", distributions=()).training.seed
        study = Study(tuning, search.space, seed=seed)
        say(
            f"search {tuning.folder}: {counted(trials, 'trial')}, minimizing {search.watched} of the validation split "
            f"of {data}"
        )
        if study.ended() < trials:
            engine = make_engine(launcher, job, jobs=jobs, folder=tuning.folder / "jobs")
            if code := engine.first(["tune-cell", str(tuning.folder)], tuning.log("features")):
                raise SystemExit(code)  # its process has reported why
            running = Trials(
                study=study,
                tuning=tuning,
                search=search,
                engine=engine,
                settings_of=settings_of,
            )
            if number := running.run(trials=trials, jobs=jobs, minutes=minutes):
                say(f"interrupted, nothing is lost; resume with: {shlex.join(['vsr', *sys.argv[1:]])}")
                raise SystemExit(128 + number)
        result = results(study, tuning, search)
        _store(tuning, result, best_settings)
    return result


def _make_search(registry: Registry, asked: Asked, data: Path | None) -> tuple[Search, Path]:
    """Resolve the settings with every end of the space; where nothing is prepared yet, prepare the embedded stories."""
    from ..data.prepared import open_prepared
    from ..plugin.requirements import objective_mistakes, provide
    from ..tuning.folder import Search, with_assignments
    from ..tuning.space import assignments, parse_space, probes

    space = parse_space(asked.words)
    _refuse_set_too(space, asked)
    folder = find_data(data)
    flags = {**asked.components.flags(), **asked.settings.flags()}
    base = resolve_train_command(registry, folder, flags=flags, **asked.settings.layers())
    watched = base.training.best_metric
    if watched == "loss" and (changed := [each.setting for each in space if each.setting.startswith("objective.")]):
        raise VsrError(
            f"--search {changed[0]}: changes what the loss 'loss' is the sum of, so trials could not be compared; "
            "minimize one term, e.g. with --set training.best_metric=text"
        )
    record = base.record()
    configs: list[TrainConfig] = []
    mistakes: dict[tuple[str, str], str] = {}
    for probe in probes(space):
        try:
            configs.append(with_assignments(registry, record, assignments(space, probe)))
        except VsrError as error:
            for line in error.lines:
                head, _, reason = line.replace("--set ", "--search ", 1).partition(": ")
                # Both ends of a range lack the same option: that is one mistake.
                mistakes.setdefault((head.partition("=")[0], reason), f"{head}: {reason}")
    if mistakes:
        raise VsrError(*mistakes.values())
    space = [_whole(each, configs[0].record()) for each in space]
    if folder is None:
        check_embedded(base.preset)
    choices = [choice for config in configs for choice in config.parts.items()]
    provide(
        choices, mistakes=list(dict.fromkeys(line for each in configs for line in objective_mistakes(each.objective)))
    )
    folder = folder or prepare_embedded(registry, show=False)
    manifest = open_prepared(folder).manifest
    if not manifest["counts"]["windows_kept"]["validation"]:
        raise VsrError(f"{folder}: has no window in the validation split to choose by; prepare more stories")
    return Search(space=space, settings=record, fingerprint=manifest["fingerprint"], watched=watched), folder


def _refuse_set_too(space: Sequence[Dimension], asked: Asked) -> None:
    """Raise VsrError if a setting is both searched and set."""
    searched = {each.setting for each in space}
    flags = {**asked.components.flags(), **asked.settings.flags()}
    mistakes = [
        f"{path}: is searched and set by an option; leave out one of the two"
        for path in flags
        if flags[path] is not None and path in searched
    ]
    for text in asked.settings.assignments or []:
        if text.partition("=")[0].strip().replace("-", "_") in searched:
            mistakes.append(f"--set {text}: this setting is searched; leave out one of the two")
    if mistakes:
        raise VsrError(*mistakes)


def _whole(each: Dimension, record: Mapping[str, Any]) -> Dimension:
    """Return a dimension whose setting takes whole numbers alone as one of whole numbers."""
    section, _, key = each.setting.rpartition(".")
    value = record[section].get(key)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return replace(each, whole=True) if is_whole and not each.values else each


def _store(tuning: Tuning, result: Mapping[str, Any], best_settings: Any) -> None:
    from ..report.tuning import draw_tuning

    write_json(tuning.folder / "result.json", result, seal=False)
    if result["best"] is not None:
        write_json(tuning.folder / "best.json", best_settings(tuning, result["best"]), seal=False)
        draw_tuning(result, tuning.folder / "tune.png")


def show_tuning(result: Mapping[str, Any]) -> None:
    """Print the best trials, which settings matter, and what to type next."""
    from ..report.tuning import MOST_SHOWN, trial_table

    console.print(trial_table(result, width=console.width))
    if (more := len(result["trials"]) - MOST_SHOWN) > 0:
        console.print(f"and {more} more in {result['folder']}/result.json", markup=False, soft_wrap=True)
    for name, share in sorted(result["importance"].items(), key=lambda each: -each[1]):
        console.print(f"importance of {name}: {share:.0%}", markup=False, soft_wrap=True)
    folder = shlex.quote(result["folder"])
    if result["best"] is None:
        console.print("no trial has finished", style="bold red")
        return
    run = next(each["run"] for each in result["trials"] if each["number"] == result["best"])
    console.print(
        "chosen on the validation split, which is optimistic for the chosen one; "
        + ("only its run has weights" if run else "its run is gone, so train it again"),
        soft_wrap=True,
    )
    evaluation = [f"vsr evaluate --run {shlex.quote(run)} --split test"] if run else []
    for line in (f"{folder}/tune.png", f"vsr train --config {folder}/best.json", *evaluation):
        console.print(f"  {line}", markup=False, soft_wrap=True)
