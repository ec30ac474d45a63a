"""Gradio components that leave the checking of files to vsr, and how errors and storyboards reach the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import gradio as gr
from PIL import Image

from ..errors import PluginError, VsrError
from ..report.storyboard import Panel, draw_storyboard, in_rows

NARROW = 640
"""CSS pixels of a phone's width, at which a storyboard has one column."""
MODEL = "model"
"""What needs a model waits in this one queue."""


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


def board_html(panels: Sequence[Panel], *, columns: int, name: str) -> str:
    """Return a storyboard as HTML: one column on a phone, else `columns`. Its texts are the alternative text."""
    if not panels:
        return ""
    described = "; ".join(f"{panel.label}: {panel.caption}" for panel in panels)
    wide, narrow = (_data_url(draw_storyboard(in_rows(panels, each))) for each in (columns, 1))
    return (
        f'<picture class="board"><source media="(max-width: {NARROW}px)" srcset="{narrow}">'
        f'<img src="{wide}" alt="{escape(f"{name}. {described}", quote=True)}"></picture>'
    )


def _data_url(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "WEBP", quality=90, method=1)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
