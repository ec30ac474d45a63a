"""The endpoints for programs: /predict, /continue and /draw. They hold no state between calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from ..data.images import png_bytes
from ..errors import VsrError
from ..python.model import DecodingOptions, Model
from .components import MODEL, errors_on_page, served_file, without_example
from .stories import PageStory, check_text, grow, read_given, zipped

METHODS = ("as trained", "greedy", "beam", "sample")
MOST = 8
"""Frames of one call."""


def add_endpoints(models: Mapping[str, Model]) -> None:
    """Add the endpoints to the page that is being built, out of sight."""
    names = list(models)

    def begin(images: list[str] | None, texts: list[str] | None, run: str | None) -> tuple[Model, PageStory]:
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise VsrError("texts: not a list of strings; send one text for each image")
        if run is not None and run not in names:
            raise VsrError(f"run: {run!r} is not one of {', '.join(names)}")
        return models[run or names[0]], PageStory(read_given(images or [], texts, least=len(texts)))

    def predict(
        images: list[str] | None, texts: list[str] | None, method: str, seed: float, run: str
    ) -> tuple[str, str]:
        """Predict the next frame of a story: its text and its image."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            last = grow(model, story, decoding=_decoding(method, seed)).grown[-1]
            return last.text, served_file(last.image, "image.png")

    def continue_(
        images: list[str] | None, texts: list[str] | None, steps: float | None, method: str, seed: float, run: str
    ) -> tuple[list[str], str]:
        """Continue a story by several frames: their texts, and a ZIP of the story folder with its storyboard."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            if steps is None or steps not in range(1, MOST + 1):
                raise VsrError(f"steps: not a number from 1 to {MOST} (got {steps})")
            for _ in range(int(steps)):
                story = grow(model, story, decoding=_decoding(method, seed))
            archive = served_file(zipped(story, run=model.run), f"{model.run.name}-story.zip")
            return [frame.text for frame in story.grown], archive

    def draw(images: list[str] | None, texts: list[str] | None, text: str, seed: float, run: str) -> str:
        """Generate the image of a story's next frame from its text."""
        with errors_on_page():
            model, story = begin(images, texts, run)
            check_text(text or "", where="text")
            image = model.draw(story.pairs(len(story.given)), text or "", seed=int(seed or 0))
            return served_file(png_bytes(image), "image.png")

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
