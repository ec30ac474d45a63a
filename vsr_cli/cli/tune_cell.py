"""`vsr tune-cell`: one trial of a search, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import VsrError
from ..workflows.settings import load_registry
from .ablate_cell import end_with, train_or_resume
from .arguments import as_path
from .parsing.commands import examples

if TYPE_CHECKING:
    from ..plugin.registry import Registry
    from ..tuning.folder import Tuning


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
    train_or_resume(registry, config, _data(tuning), folder / "runs" / trial)


def compute_features(registry: Registry, tuning: Tuning) -> None:
    """Compute the frozen features of the encoders that trials can have."""
    from ..ablation.features import cache_features
    from ..config.experiment import resolve_train
    from ..config.resolve import Layer, parse_set
    from ..data.prepared import open_prepared
    from ..files.atomic import read_json
    from ..tuning.folder import WHAT
    from ..tuning.space import Dimension, assignments, probes

    search: dict[str, Any] = read_json(tuning.plan, what=WHAT)["search"]
    space = [Dimension(**{**each, "values": tuple(each["values"])}) for each in search["space"]]
    values = {key: value for key, value in search["settings"].items() if isinstance(value, dict)}
    configs = [
        resolve_train(
            registry,
            preset=str(search["settings"]["preset"]),
            layers=[Layer(str(tuning.plan), values), *parse_set(assignments(space, probe))],
        )
        for probe in probes(space)
    ]
    cache_features(configs, open_prepared(_data(tuning)), ["train", "validation"])


def _data(tuning: Tuning) -> Path:
    from ..data.prepared import open_prepared

    data, fingerprint = tuning.data()
    if open_prepared(data).manifest["fingerprint"] != fingerprint:
        raise VsrError(f"{data}: is not the data that the search {tuning.folder} was started with; prepare that again")
    return data
