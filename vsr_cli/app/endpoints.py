"""The endpoints for programs: /predict, /continue and /draw. They hold no state between calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from ..errors import VsrError
from ..python.model import DecodingOptions, Model
from .components import MODEL, errors_on_page, without_example
from .stories import PageStory, grow, read_given, zipped

METHODS = ("as trained", "greedy", "beam", "sample")
MOST = 8
"""Frames of one call."""


def add_endpoints(models: Mapping[str, Model]) -> None:
    """Add the endpoints to the page that is being built, out of sight."""
    names = list(models)

    def begin(images: list[str] | None, texts: list[str] | None, run: str | None) -> tuple[Model, PageStory]:
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise VsrError("texts: not a list of strings; send one text for each image")
        return models[run or names[0]], PageStory(read_given(images or [], texts, least=len(texts)))

    def predict(
        images: list[str] | None, texts: list[str] | None, method: str, seed: float, run: str
    ) -> tuple[str, Image.Image]:
        """Predict the next frame of a story: its text and its image."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            last = grow(model, story, decoding=_decoding(method, seed)).grown[-1]
            return last.text, last.image

    def continue_(
        images: list[str] | None, texts: list[str] | None, steps: float, method: str, seed: float, run: str
    ) -> tuple[list[str], str]:
        """Continue a story by several frames: their texts, and a ZIP of the story folder with its storyboard."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            if not 1 <= steps <= MOST:
                raise VsrError(f"steps: not a number from 1 to {MOST} (got {steps:g})")
            for _ in range(int(steps)):
                story = grow(model, story, decoding=_decoding(method, seed))
            content = zipped(story, run=model.run)
            return [frame.text for frame in story.grown], save_bytes_to_cache(
                content, f"{model.run.name}-story.zip", get_upload_folder()
            )

    def draw(images: list[str] | None, texts: list[str] | None, text: str, seed: float, run: str) -> Image.Image:
        """Generate the image of a story's next frame from its text."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            return model.draw(story.pairs(len(story.given)), text or "", seed=int(seed or 0))

    with gr.Column(visible=False):
        images = without_example(gr.File(file_count="multiple", label="images"))
        texts = gr.JSON(label="texts")
        steps = gr.Number(3, precision=0, label="steps")
        text = gr.Textbox(label="text")
        method = gr.Dropdown(list(METHODS), value=METHODS[0], label="method")
        seed = gr.Number(0, precision=0, label="seed")
        run = gr.Dropdown(names, value=names[0], label="run")
        image = without_example(gr.Image(format="png", label="image"))
        written, lines = gr.Textbox(label="text"), gr.JSON(label="texts")
        archive = without_example(gr.File(label="ZIP"))
        calls: list[tuple[str, Any, list[Any], list[Any]]] = [
            ("predict", predict, [images, texts, method, seed, run], [written, image]),
            ("continue", continue_, [images, texts, steps, method, seed, run], [lines, archive]),
            ("draw", draw, [images, texts, text, seed, run], [image]),
        ]
        for name, function, inputs, outputs in calls:
            gr.Button(name).click(function, inputs, outputs, api_name=name, concurrency_id=MODEL, concurrency_limit=1)


def _decoding(method: str | None, seed: float | None) -> DecodingOptions:
    options: DecodingOptions = {"seed": int(seed or 0)}
    if method and method != METHODS[0]:
        options["method"] = method  # type: ignore[typeddict-item]
    return options
