"""`vsr evaluate --protocol leaky`: scores with the target leaking, beside the held-out ones; not a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..api import Decoding
from ..config.resolve import Choice
from ..config.schema import LEAKS, FeatureOptions
from ..console import out as console
from ..console import styled
from ..files.atomic import write_json
from ..plugin.registry import Registry
from ..report.tables import Column, fitting_table
from ..runs.results import lock_evaluation
from ..runs.run import Run
from .evaluation import folder_of_run, training_data

NO_RESULT = "NOT A RESULT: scored as if the target leaked, step by step"
FILE = "leaky.json"
"""Not the name of a result: neither 'vsr compare' nor 'vsr report' looks for this one."""


def run_leaky(
    registry: Registry,
    run: Run,
    data: Path,
    split: str,
    metrics: Sequence[Choice],
    *,
    decoding: Decoding,
    held_out: Mapping[str, Any],
) -> dict[str, Any]:
    """Score a run with leaks that are closed one by one, and store that apart from results."""
    from ..data.prepared import open_prepared
    from ..evaluation.leaky_protocol import leaky_steps
    from ..model.weights import choose_device, load_model

    folder = leaky_folder(run, split, decoding, data)
    with lock_evaluation(folder):
        prepared = open_prepared(data)
        steps = leaky_steps(
            load_model(run, registry),
            prepared,
            split,
            metrics,
            leaks=list(LEAKS),
            decoding=decoding,
            device=choose_device("auto"),
            feature_options=FeatureOptions(**run.config()["features"]),
            training=training_data(run, prepared)[0],
        )
        record = {
            "result": False,
            "what": NO_RESULT,
            "signature": f"not-a-result|protocol:leaky|{held_out['signature']}",
            "leaks": dict(LEAKS),
            "steps": steps,
            "held_out": held_out,
        }
        write_json(folder / FILE, record, seal=False)
    return record


def leaky_folder(run: Run, split: str, decoding: Decoding, data: Path) -> Path:
    """Return the folder of the leaky scores: beside the result, under another name."""
    folder = folder_of_run(run, split, decoding, data)
    return folder.with_name(f"{folder.name}-leaky")


def show_leaky(record: Mapping[str, Any], folder: Path) -> None:
    """Print the steps; the last one is the result that was printed before."""
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
    console.print(f"stored apart from results: {folder / FILE}", markup=False, soft_wrap=True)
