"""Gradio components that leave the checking of files to vsr, and how errors and storyboards reach the page."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder

from ..errors import PluginError, VsrError
from .stories import ShownFrame

MODEL = "model"
"""What needs a model waits in this one queue."""
IMAGES = "images"
"""What decodes dropped images waits in this one: each may need 200 MB."""


def without_example(component: Any) -> Any:
    """Return a component that shows no example on the page of the API: Gradio's own are files on the internet."""
    component.example_payload = component.example_value = lambda: None
    return component


def uploaded_image(**options: Any) -> Any:
    """Return an image component that passes the uploaded file on unread, since vsr's own reader checks it."""
    # Not a subclass: for each of those Gradio writes a .pyi file beside the module.
    component = without_example(gr.Image(type="filepath", **options))
    component.preprocess = lambda payload: payload.path if payload else None
    return component


def nothing() -> None:
    """Do nothing, for an event of the browser alone: Gradio logs a traceback if one without a function is called."""


@contextmanager
def errors_on_page() -> Iterator[None]:
    """Show an error of the user or of a plugin as a line on the page, which is also what an API client gets."""
    try:
        yield
    except (VsrError, PluginError) as error:
        raise gr.Error(_line(error), duration=None, print_exception=False) from None


def warn_on_page(error: VsrError) -> None:
    """Show an error of the user as a line on the page, and go on."""
    gr.Warning(_line(error), duration=None)


def _line(error: Exception) -> str:
    """Return the message of an error as one line of HTML, as which Gradio renders it."""
    return escape(" ".join(str(error).split()), quote=False)


def caution_html(caution: str | None) -> str:
    """Return a caution as a line of the page; "" for none."""
    return f'<p class="caution">Note: {escape(caution)}</p>' if caution else ""


def served_file(content: bytes, name: str) -> str:
    """Store a result where Gradio serves files, and return its path."""
    return str(save_bytes_to_cache(content, name, get_upload_folder()))


def board_html(frames: Sequence[ShownFrame], *, columns: int, name: str) -> str:
    """Return a storyboard of at most so many columns as HTML, whose texts can be selected and read aloud."""
    if not frames:
        return ""
    items = "".join(
        f'<li class="{"marked" if frame.marked else "given"}"><figure><img src="{_data_url(frame.image)}" alt="">'
        f"<figcaption><b>{escape(frame.label)}</b> <span>{escape(frame.text)}</span></figcaption></figure></li>"
        for frame in frames
    )
    return f'<ol class="board" style="--columns: {columns}" aria-label="{escape(name)}">{items}</ol>'


def _data_url(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
