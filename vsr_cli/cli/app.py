"""`vsr app`: serve a page on which anyone can try a run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from ..api import missing_package
from ..console import out as console
from ..console import say, warn
from ..errors import VsrError
from .arguments import RunFolder, as_path
from .parsing.commands import examples

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@examples("vsr app", "vsr app --run runs/gru", "vsr app --run runs/gru --compare runs/lstm --port 8000")
def app(
    run: RunFolder = None,
    compare: Annotated[
        Path | None,
        typer.Option("--compare", metavar="DIR", parser=as_path, help="Another run, to be shown beside the first."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0 is all of this machine.")
    ] = LOOPBACK[0],
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="The port. Default: the first free one from 7860."),
    ] = None,
) -> None:
    """Serve a page on which a run predicts stories that anyone brings, with an API for programs.

    Only this machine can open it, unless --host says otherwise. It needs the extra 'app', and no internet.
    """
    from ..runs.opening import open_run

    if missing_package("gradio"):
        raise VsrError("vsr app: needs gradio; pip install 'vsr-cli[app]'")
    runs = [open_run(run).folder, *([] if compare is None else [open_run(compare).folder])]
    if host not in LOOPBACK:
        warn(f"--host {host}: whoever can reach this machine can use the page, which has no password")
    from ..python.model import load

    models = [load(folder) for folder in runs]
    from ..app.serving import served_app

    with served_app(models, host=host, port=port) as address:
        console.print(address, markup=False, soft_wrap=True)
        say("open this page in a browser; press Ctrl+C to stop")
        while True:
            time.sleep(3600)
