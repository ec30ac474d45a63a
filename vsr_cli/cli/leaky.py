"""`vsr evaluate --protocol leaky`: the seed's way of scoring beside the held-out one. Nothing in it is a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..api import Decoding
from ..config.resolve import Choice
from ..config.schema import LEAKS, FeatureOptions
from ..console import out as console
from ..console import styled
from ..errors import VsrError, nearest
from ..files.atomic import write_json
from ..plugin.registry import Registry
from ..report.tables import Column, fitting_table
from ..runs.results import lock_evaluation
from ..runs.run import Run
from .evaluate import evaluation_folder, training_data

PROTOCOLS = ("held-out", "leaky")
NO_RESULT = "NOT A RESULT: the seed's way of scoring, leak by leak"
FILE = "leaky.json"
"""Not the name of a result: neither 'vsr compare' nor 'vsr report' looks for this one."""


def chosen_leaks(protocol: str, names: Sequence[str] | None) -> list[str] | None:
    """Return the leaks to open, all where none are named; None for a protocol without. Raises VsrError at a mistake."""
    if protocol == "seed":
        raise VsrError("--protocol seed: is now called leaky; use --protocol leaky")
    if protocol not in PROTOCOLS:
        raise VsrError(f"--protocol {protocol}: there is none of this name; {nearest(protocol, PROTOCOLS)}")
    if protocol != "leaky":
        if names is not None:
            raise VsrError(f"--leaks {','.join(names)}: only the leaky protocol has leaks; add --protocol leaky")
        return None
    for name in names or ():
        if name not in LEAKS:
            raise VsrError(f"--leaks {name}: there is none of this name; {nearest(name, LEAKS)}")
    return list(names or LEAKS)


def run_leaky(
    found: Registry,
    run: Run,
    data: Path,
    split: str,
    metrics: Sequence[Choice],
    *,
    leaks: Sequence[str],
    decoding: Decoding,
    held_out: Mapping[str, Any],
) -> dict[str, Any]:
    """Score a run as the seed did, step by step, and keep that apart from results. `held_out` is the result beside."""
    folder = leaky_folder(run, split, decoding)
    with lock_evaluation(folder):
        record = _leaky_record(found, run, data, split, metrics, leaks=leaks, decoding=decoding, held_out=held_out)
        write_json(folder / FILE, record, seal=False)
    return record


def _leaky_record(
    found: Registry,
    run: Run,
    data: Path,
    split: str,
    metrics: Sequence[Choice],
    *,
    leaks: Sequence[str],
    decoding: Decoding,
    held_out: Mapping[str, Any],
) -> dict[str, Any]:
    from ..data.prepared import open_prepared
    from ..evaluation.leaky_protocol import leaky_steps
    from ..model.weights import choose_device, load_model

    prepared = open_prepared(data)
    steps = leaky_steps(
        load_model(run, found),
        prepared,
        split,
        metrics,
        leaks=leaks,
        decoding=decoding,
        device=choose_device("auto"),
        feature_options=FeatureOptions(**run.config()["features"]),
        training=training_data(run, prepared)[0],
    )
    return {
        "result": False,
        "what": NO_RESULT,
        "signature": f"not-a-result|protocol:leaky|{held_out['signature']}",
        "leaks": {name: LEAKS[name] for name in leaks},
        "steps": steps,
        "held_out": held_out,
    }


def leaky_folder(run: Run, split: str, decoding: Decoding) -> Path:
    """Say where the seed's scores are kept: beside the result, and under the name of none."""
    folder = evaluation_folder(run.folder, split, decoding)
    return folder.with_name(f"{folder.name}-leaky")


def show_leaky(record: Mapping[str, Any], folder: Path) -> None:
    """Print the steps, the last of which is the result that was printed before."""
    steps = record["steps"]
    none = "none: the result" if record["held_out"]["held_out"] else "none"
    console.print(styled("[bold]{}[/bold]", NO_RESULT), soft_wrap=True)
    columns = [
        Column("leaks open", [", ".join(step["open"]) or none for step in steps], justify="left", wraps=20),
        Column("windows", [str(step["windows"]) for step in steps]),
        *(Column(name, [f"{step['scores'][name]:.4g}" for step in steps]) for name in steps[0]["scores"]),
    ]
    console.print(fitting_table(columns, width=console.width))
    for name, what in record["leaks"].items():
        console.print(f"{name}: {what}", markup=False)
    for step in (steps[0], steps[-1]):
        console.print(f"with {len(step['open'])} leaks open", markup=False)
        for which in ("prediction", "reference"):
            console.print(f"  {which}: {step['example'][which]}", markup=False, soft_wrap=True)
    console.print(f"kept apart from results: {folder / FILE}", markup=False, soft_wrap=True)
