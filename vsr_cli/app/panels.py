"""The part of the page that belongs to one run: its storyboard, alternatives, editing, the download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from ..python.model import Model
from .components import MODEL, board_html, caution_html, errors_on_page, nothing, served_file, without_example
from .stories import PageStory, edit, pick, shown_alternatives, shown_frames, without_last, zipped

EMPTY = '<p class="empty">The storyboard appears here: the given frames, and the predicted ones.</p>'
DOWNLOAD = "() => setTimeout(() => document.querySelector('#{0} a, a#{0}, #{0}').click(), 300)"
"""Clicks a link once the page has its address."""


@dataclass(frozen=True)
class RunPanel:
    """The components of a run."""

    model: Model
    title: str
    columns: int
    story: Any
    board: Any
    choices: Any
    choice: Any
    tools: Any
    frame: Any
    text: Any

    @property
    def outputs(self) -> list[Any]:
        """What `show` returns values for."""
        return [self.story, self.board, self.choices, self.choice, self.tools, self.frame, self.text]

    def show(self, story: PageStory) -> list[Any]:
        """Return the components as a story needs them."""
        grown = story.grown
        board = board_html(shown_frames(story), columns=self.columns, name=f"Storyboard of {self.title}")
        alternatives = shown_alternatives(story)
        several = [(f"Prediction {number}", number) for number in range(1, len(alternatives) + 1)]
        first = len(story.given) + 1
        frames = [(f"Frame {number}", number) for number in range(first, first + len(grown))]
        return [
            story,
            f"{caution_html(story.caution)}{board}" or EMPTY,
            board_html(alternatives, columns=self.columns, name="Predictions to choose from"),
            gr.update(choices=several, value=grown[-1].pick if several else None, visible=bool(several)),
            gr.update(visible=bool(grown)),
            gr.update(choices=frames, value=frames[-1][1] if frames else None),
            grown[-1].text if grown else "",
        ]


def build_panel(model: Model, *, number: int, title: str, columns: int, seed: Any) -> RunPanel:
    """Lay out the panel of a run, and connect what concerns it alone."""
    story = gr.State(PageStory(), time_to_live=6 * 3600)
    gr.HTML(f"<h2>Story as {escape(title)} continues it</h2>")
    board = gr.HTML(EMPTY, elem_classes="board-area")
    choices = gr.HTML("", elem_classes="board-area")
    choice = gr.Radio([], label="Go on with which prediction?", visible=False)
    with gr.Column(visible=False, elem_classes="tools") as tools:
        with gr.Row(equal_height=False):
            frame = gr.Dropdown([], label="Predicted frame", scale=1, min_width=120, filterable=False)
            text = gr.Textbox(label="Its text", lines=2, max_lines=6, scale=4, min_width=240)
        with gr.Row():
            redraw = gr.Button("Redraw from this text" if model.reads_text else "Use this text", min_width=200)
            remove = gr.Button("Remove last frame", min_width=200)
            download = gr.Button("Download story (ZIP)", min_width=200)
        file = without_example(gr.DownloadButton("ZIP", elem_id=f"zip-{number}", elem_classes="unseen"))
    panel = RunPanel(model, title, columns, story, board, choices, choice, tools, frame, text)
    listen = partial(_connect, panel)
    listen(choice.input, _picked, [story, choice])
    listen(redraw.click, _edited, [story, frame, text, seed], queued=True)
    listen(remove.click, _removed, [story])
    frame.input(_text_of, [story, frame], text, api_visibility="private", queue=False, show_progress="hidden")
    download.click(partial(_zip, model.run), story, file, api_visibility="private", show_progress="hidden").success(
        nothing, js=DOWNLOAD.format(f"zip-{number}"), api_visibility="private", queue=False
    )
    return panel


def _connect(panel: RunPanel, event: Any, function: Any, inputs: list[Any], *, queued: bool = False) -> None:
    def react(*values: Any) -> list[Any]:
        with errors_on_page():
            return panel.show(function(panel.model, *values))

    waits = {"concurrency_id": MODEL, "concurrency_limit": 1} if queued else {"concurrency_limit": 4}
    event(
        react,
        inputs,
        panel.outputs,
        api_visibility="private",
        show_progress="minimal",
        show_progress_on=[panel.board],
        **waits,
    )


def _picked(_: Model, story: PageStory, number: int | None) -> PageStory:
    return pick(story, number)


def _edited(model: Model, story: PageStory, number: int | None, text: str, seed: float | None) -> PageStory:
    later = len(story.given) + len(story.grown)
    changed = edit(model, story, number or 0, text or "", seed=int(seed or 0))
    if number != later:
        gr.Info(f"Frames after {number} were predicted from its old version and are removed.")
    return changed


def _removed(_: Model, story: PageStory) -> PageStory:
    return without_last(story)


def _text_of(story: PageStory, number: int | None) -> str:
    index = (number or 0) - 1
    return story.texts[index] if 0 <= index < len(story.texts) else ""


def _zip(run: Path, story: PageStory) -> str:
    with errors_on_page():
        return served_file(zipped(story, run=run), f"{run.name}-story.zip")
