"""Serving the page: limits, and nothing beyond its own temporary folder and this machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import VsrError
from ..python.model import Model
from .examples import ExampleStory, example_stories

LARGEST_FILE = "20mb"
WAITING = 32
"""Calls that may wait; further ones are refused with one line."""
SESSIONS = 100
"""Visitors whose stories are in memory; that of the oldest visit is dropped for another one."""
PORTS = range(7860, 7960)
STYLE = Path(__file__).with_name("style.css")
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "DejaVu Sans", "sans-serif")
MONO = ("ui-monospace", "DejaVu Sans Mono", "Consolas", "monospace")


@contextmanager
def served_app(models: Sequence[Model], *, host: str = "127.0.0.1", port: int | None = None) -> Iterator[str]:
    """Serve the page of some runs while the block runs, and yield its address.

    Raises VsrError if the runs have contexts of different lengths, or if the address cannot be listened on.
    """
    counts = {model.context_frames for model in models}
    if len(counts) > 1:
        raise VsrError(
            f"{' and '.join(str(model.run) for model in models)}: predict from {' and '.join(map(str, counts))} "
            "frames; compare runs of the same number"
        )
    with tempfile.TemporaryDirectory(prefix="vsr-app-") as folder, _only(Path(folder) / "files"):
        from .page import titles_of
        from .storage import limited_storage
        from .warming import warm_up

        (Path(folder) / "examples").mkdir()
        examples = example_stories(models[0], Path(folder) / "examples")
        with _launched(models, examples, host, port) as (page, address), limited_storage(page, Path(folder) / "files"):
            warm_up(address, examples[0], titles_of(models))
            yield address


@contextmanager
def _only(folder: Path) -> Iterator[None]:
    """Let Gradio use this folder alone, and nothing that a shell has set; it reads the environment."""
    folder.mkdir()
    before = {name: value for name, value in os.environ.items() if name.startswith("GRADIO_")}
    ours = {
        "GRADIO_TEMP_DIR": str(folder),
        "GRADIO_ANALYTICS_ENABLED": "False",
        # Gradio would make a table of its last 10,000 calls after each one.
        "GRADIO_ANALYTICS_MAX_EVENTS": "1",
        "GRADIO_ANALYTICS_CACHE_FREQUENCY": str(1 << 60),
    }
    for name in before:
        del os.environ[name]
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _launched(
    models: Sequence[Model], examples: Sequence[ExampleStory], host: str, port: int | None
) -> Iterator[tuple[Any, str]]:
    import gradio as gr
    from starlette.middleware import Middleware

    from .local import LocalOnly
    from .page import build_page

    page = build_page(models, examples)
    page.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)
    theme = gr.themes.Base(
        primary_hue="rose", neutral_hue="stone", font=FONTS, font_mono=MONO, radius_size="md", text_size="md"
    )
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            allowed_paths=[],
            max_file_size=LARGEST_FILE,
            state_session_capacity=SESSIONS,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            footer_links=["api"],
            theme=theme,
            css_paths=[STYLE],
            app_kwargs={"middleware": [Middleware(LocalOnly)]},
        )
    except OSError as error:
        where = f"--host {host}" if port is None else f"--host {host} --port {port}"
        raise VsrError(f"{where}: cannot be listened on ({error}); name another port") from error
    try:
        yield page, str(page.local_url)
    finally:
        page.close(verbose=False)
