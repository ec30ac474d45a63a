"""`vsr tune-cell`: one trial of a search, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..workflows.settings import load_registry
from .ablate_cell import end_with, refuse_other_data, train_or_resume
from .arguments import as_path
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..plugin.registry import Registry
    from ..tuning.folder import Search, Tuning


@examples("vsr tune-cell tunings/mine trial-003")
def tune_cell(
    folder: Annotated[Path, typer.Argument(parser=as_path, help="The folder of a search.")],
    trial: Annotated[
        str | None, typer.Argument(help="The name of a trial. Default: compute the frozen features of all.")
    ] = None,
    parent: Annotated[int | None, typer.Option("--parent", help="The process with which this one ends.")] = None,
) -> None:
    """Train a single trial of a search; started by `vsr tune`."""
    from ..config.experiment import resolve_recorded
    from ..files.atomic import read_json
    from ..tuning.folder import WHAT, Tuning

    if parent is not None:
        end_with(parent)
    registry, tuning = load_registry(), Tuning(folder)
    if trial is None:
        compute_features(registry, tuning)
        return
    record = read_json(tuning.settings(trial), what=WHAT)
    config = resolve_recorded(registry, record["settings"], where=f"{folder}, {trial}", distributions=())
    train_or_resume(registry, config, _open(tuning)[1], folder / "runs" / trial)


def compute_features(registry: Registry, tuning: Tuning) -> None:
    """Compute the frozen features of the encoders that trials can have."""
    from ..ablation.features import cache_features
    from ..data.prepared import open_prepared
    from ..tuning.folder import with_assignments
    from ..tuning.space import assignments, probes

    search, data = _open(tuning)
    configs = [
        with_assignments(registry, search.settings, assignments(search.space, probe)) for probe in probes(search.space)
    ]
    cache_features(configs, open_prepared(data), ["train", "validation"])


def _open(tuning: Tuning) -> tuple[Search, Path]:
    search, data = tuning.open()
    refuse_other_data(data, search.fingerprint, f"search {tuning.folder}")
    return search, data
