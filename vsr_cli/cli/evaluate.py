"""`vsr evaluate`: score a run on a held-out split, or the models of a cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.choices import Protocol
from ..console import out as console
from ..console import print_json, styled, warn
from ..distributed_env import process_count
from ..errors import VsrError, check_together
from ..quantities import counted
from ..workflows.settings import (
    flag_layers,
    load_registry,
    metric_names,
    metrics_of_dataset,
    open_with_options,
    resolve_train_command,
    sorted_assignments,
    typed_options,
)
from .arguments import (
    Components,
    Data,
    Decoding,
    Font,
    Form,
    Json,
    Metrics,
    Out,
    RunFolder,
    Settings,
    SplitName,
    use_font,
)
from .output import chosen_format, write_result
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..config.choices import TableFormat
    from ..config.resolve import Layer
    from ..plugin.registry import Registry


@examples(
    "vsr evaluate --metrics bleu rouge meteor",
    "vsr evaluate --run runs/lstm --split validation --json",
    "vsr evaluate --metrics all",
    "vsr evaluate --metrics bleu rouge meteor --format latex",
    "vsr evaluate --metrics bleu --set metrics.bleu.smooth=floor",
    "vsr evaluate --decoding beam --set decoding.beams=8",
    "vsr evaluate --protocol leaky",
    "vsr evaluate --folds 5 --data data/my_stories --preset laptop --epochs 10",
)
def evaluate(
    run: RunFolder = None,
    data: Data = None,
    split: SplitName = "test",
    metrics: Metrics = None,
    decoding: Decoding = None,
    allow_train: Annotated[
        bool, typer.Option("--allow-train", help="Allow --split train, which the model was trained on.")
    ] = False,
    protocol: Annotated[
        Protocol,
        typer.Option("--protocol", help="leaky: also score as if the target leaked, step by step; not a result."),
    ] = "held-out",
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="N",
            min=2,
            help="Cross-validate: train N models, each without a part of the stories, and score it on that part. "
            "Takes the options of 'vsr train'.",
        ),
    ] = None,
    components: Components = Components(),  # noqa: B008 - frozen
    settings: Settings = Settings(),  # noqa: B008
    out: Out = None,
    font: Font = None,
    form: Form = None,
    as_json: Json = False,
) -> None:
    """Score the text and images that a run generates on a held-out split, each score beside its baselines.

    With --folds N, every story of a prepared folder is held out once: N models are trained with the options of 'vsr
    train', and each is scored on the stories that it has not seen. The same command resumes where it was stopped.
    """
    form = chosen_format(form, as_json=as_json)
    if protocol == "leaky" and form not in ("table", "json"):
        raise VsrError(f"--format {form}: --protocol leaky has only a table and json; leave out one of the two")
    use_font(font)
    from ..config.experiment import resolve_evaluation
    from ..config.resolve import parse_set

    registry = load_registry()
    ours, of_training = sorted_assignments(settings.assignments or [], trains=folds is not None)
    layers = [*flag_layers({"decoding.method": decoding}), *parse_set(ours)]
    names = metric_names(registry, metrics)
    flags = {**components.flags(), **settings.flags()}
    if folds is not None:
        _refuse_run_options(
            folds,
            {
                "--run": run,
                "--split": None if split == "test" else split,
                "--allow-train": allow_train,
                "--protocol": None if protocol == "held-out" else protocol,
            },
        )
        _cross_validate(
            registry,
            folds,
            data,
            settings,
            flags,
            of_training,
            names,
            layers,
            by_default=metrics is None,
            out=out,
            form=form,
        )
        return
    if typed := typed_options(
        flags, {"--preset": settings.preset, "--config": settings.config, "--out": out}, of_training
    ):
        raise VsrError(f"{', '.join(typed)}: only --folds N trains models here; leave this out, or add --folds N")
    if split == "train" and not allow_train:
        raise VsrError(
            "--split train: the model was trained on it, so its scores say little; --allow-train computes them anyway"
        )
    from ..data.manifest import read_finished

    (opened, (choices, how)), _ = check_together(
        lambda: open_with_options(run, layers, lambda all_layers: resolve_evaluation(registry, names, all_layers)),
        lambda: data and read_finished(data),
    )
    from ..workflows.evaluation import data_of, folder_of_run, run_evaluate

    folder = data_of(opened, data)
    choices = choices if metrics else [*choices, *metrics_of_dataset(registry, folder)]
    result = run_evaluate(registry, opened, folder, split, choices, decoding=how)
    folder_of_result = folder_of_run(opened, split, how, folder)
    if protocol == "leaky":
        if form == "table":
            show_result(result, folder_of_result)
        from ..workflows.leaky import leaky_folder, run_leaky, show_leaky

        record = run_leaky(registry, opened, folder, split, choices, decoding=how, held_out=result)
        print_json(record) if form == "json" else show_leaky(record, leaky_folder(opened, split, how, folder))
    else:
        _write(form, result, folder_of_result, only=names if metrics else None)


def _refuse_run_options(folds: int, given: dict[str, Any]) -> None:
    """Raise VsrError for options of a single run, since --folds trains a run per fold."""
    for name, value in given.items():
        if value:
            words = name if value is True else f"{name} {value}"
            raise VsrError(
                f"{words}: is for a single run, and --folds {folds} trains {folds}; leave out one of the two"
            )
    if process_count() > 1:
        raise VsrError(f"--folds {folds}: trains in one process; run it without the launcher")


def _cross_validate(
    registry: Registry,
    folds: int,
    data: Path | None,
    settings: Settings,
    flags: dict[str, Any],
    assignments: list[str],
    names: Sequence[str],
    layers: Sequence[Layer],
    *,
    by_default: bool,
    out: Path | None,
    form: TableFormat,
) -> None:
    from ..config.experiment import decoding_layer, resolve_evaluation
    from ..workflows.evaluation import evaluation_folder
    from ..workflows.folds import run_folds
    from ..workflows.stories import find_data

    folder = find_data(data)
    if folder is None:
        raise VsrError(f"--folds {folds}: nothing is prepared under data/ yet; run 'vsr prepare' first")
    config = resolve_train_command(
        registry, folder, flags=flags, preset=settings.preset, config=settings.config, assignments=assignments
    )
    base = decoding_layer(config.decoding, where="the training's options")
    choices, decoding = resolve_evaluation(registry, names, [base, *layers])
    choices = [*choices, *metrics_of_dataset(registry, folder)] if by_default else choices
    place, result = run_folds(registry, config, folder, folds, choices, decoding=decoding, out=out)
    stored = evaluation_folder(place, "test", decoding, own=config.decoding)
    _write(form, result, stored, only=None if by_default else names)


def _write(form: TableFormat, result: dict[str, Any], folder: Path, *, only: Sequence[str] | None) -> None:
    from ..report.sheets import evaluation_sheet

    write_result(
        form,
        result,
        table=lambda: show_result(result, folder),
        sheet=lambda: evaluation_sheet(result, only=only),
    )


def show_result(result: dict[str, Any], folder: Path) -> None:
    """Print the scores, what qualifies them, and where the rest is."""
    from ..report.formatting import legend
    from ..report.provenance import copied_shares, leaks_line
    from ..report.score_table import other_baselines, score_table
    from ..runs.results import RESULT, STORYBOARDS

    title = f"{result['split']} split: {counted(result['stories'], 'story')}, {counted(result['windows'], 'window')}"
    title += f", {result['decoding']['method']} decoding"
    if not result["held_out"]:
        title += "; the model was trained on this split, so this is not a result"
    console.print(styled("[bold]{}[/bold]", title), soft_wrap=True)
    console.print(score_table(result["metrics"], width=console.width))
    if (others := other_baselines(result["metrics"], width=console.width)) is not None:
        console.print(others)
    scores = result["metrics"].values()
    baselines = [each for score in scores for each in score.get("baselines", {}).values()]
    if any(score.get("ci95") for score in scores):
        console.print("below each score: its 95 % confidence interval over stories", soft_wrap=True)
    if any(each.get("verdict") for each in baselines):
        console.print(f"beside each baseline: {legend('it', encoding=console.encoding)}", markup=False, soft_wrap=True)
    for title, share in copied_shares(result).items():
        console.print(f"{title}: {share}", markup=False, soft_wrap=True)
    for caution in result["cautions"]:
        warn(caution)
    for score in scores:
        if caution := score.get("unavailable") or score.get("caution"):
            warn(caution)
    for reason in sorted({each["unavailable"] for each in baselines if "unavailable" in each}):
        warn(f"a baseline is missing: {reason}")
    if leaks := leaks_line(result["leaks"]):
        console.print(f"left out of the scores: {leaks}", soft_wrap=True)
    if result["truncated_references"]:
        share = f"{result['truncated_references']:.0%}"
        console.print(f"references longer than the decoder can generate: {share}, scored in full length")
    forced = result["teacher_forced"]
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in forced["losses"].items())
    found = {"token": forced["perplexity"], "word": forced["perplexity_per_word"]}
    perplexity = ", ".join(f"{value:.4g} per {unit}" for unit, value in found.items() if value is not None)
    console.print(f"teacher-forced: {f'perplexity {perplexity}; ' if perplexity else ''}losses: {losses}")
    console.print(f"result  {folder / RESULT}", markup=False, soft_wrap=True)
    console.print(f"images  {folder / STORYBOARDS}", markup=False, soft_wrap=True)
