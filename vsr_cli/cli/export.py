"""`vsr export`: write a run's model for use without vsr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ..api import missing_package
from ..console import out as console
from ..console import print_json, say, warn
from ..errors import VsrError
from ..plugin.kinds import KIND_OF, MODEL_COMPONENTS
from ..report.tables import Column, fitting_table
from ..workflows.settings import load_registry
from .arguments import Json, RunName, as_path
from .parsing.commands import examples


@examples("vsr export runs/reference --onnx exported/", "vsr export --onnx exported/ --json")
def export(
    run: RunName = None,
    onnx: Annotated[
        Path | None,
        typer.Option("--onnx", metavar="DIR", parser=as_path, help="The folder to write ONNX graphs into."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model as ONNX graphs, compared with torch, with its tokenizer and what describes them.

    They run with onnxruntime, numpy and tokenizers alone; docs/how-to/export.md has a script that predicts with them.
    Components that write or draw with large pretrained models cannot be exported.
    """
    from ..api import Decoding
    from ..config.experiment import own_decoding
    from ..runs.opening import open_run

    if onnx is None:
        raise VsrError("export: no form is named; write ONNX graphs with --onnx DIR")
    packages = ("onnx", "onnxruntime", "onnxscript")
    if lacking := [name for name in packages if missing_package(name)]:
        raise VsrError(f"--onnx: needs {', '.join(lacking)}; pip install 'vsr-cli[onnx]'")
    registry = load_registry()
    opened = open_run(run)
    from ..export.write import check_target, export_onnx
    from ..model.weights import load_model

    check_target(onnx)
    config = opened.config()
    data = config["data"]
    record = export_onnx(
        load_model(opened, registry),
        onnx,
        names={section: f"{KIND_OF[section].title} {config[section]['name']}" for section in MODEL_COMPONENTS},
        run=opened.name,
        steps=int(data["context_frames"]),
        image_size=int(data["image_size"]),
        resize=data["resize"],
    )
    own = own_decoding(config, where=f"{opened.folder}/config.json").label()
    if own != (plain := Decoding().label()):
        warn(f"the run generates texts by {own} decoding; the script in docs/how-to/export.md is {plain}")
    if as_json:
        print_json({"folder": str(onnx), **record})
    else:
        _show(record, onnx)


def _show(record: Mapping[str, Any], folder: Path) -> None:
    graphs = record["graphs"].values()
    columns = [
        Column("graph", [graph["file"] for graph in graphs], justify="left"),
        Column("inputs", [", ".join(graph["inputs"]) for graph in graphs], justify="left", wraps=16),
        Column("outputs", [", ".join(graph["outputs"]) for graph in graphs], justify="left", wraps=16),
        Column("MiB", [f"{(folder / graph['file']).stat().st_size / 2**20:.1f}" for graph in graphs]),
        Column("differs from torch", [f"{graph['largest_difference']:.0e}" for graph in graphs], rank=1),
    ]
    console.print(fitting_table(columns, width=console.width))
    say(f"written to {folder}; export.json describes inputs and outputs")
