"""The page: the given frames, what to predict, and a panel for each run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import VsrError
from ..python.model import DecodingOptions, Model
from .calls import refuse_wrong_arguments
from .components import (
    IMAGES,
    MODEL,
    caution_html,
    errors_on_page,
    nothing,
    uploaded_image,
    warn_on_page,
    without_example,
)
from .endpoints import add_endpoints
from .examples import ExampleStory
from .panels import RunPanel, build_panel
from .stories import GivenFrame, PageStory, grow, read_given, read_upload

STEPS, ALTERNATIVES = 5, 6
"""At most, of one click."""
OWN = "own"
"""The run's own decoding, as a choice."""
SHOW_LAST = (
    "() => setTimeout(() => [...document.querySelectorAll('.board')].at(-1)?.lastElementChild"
    ".scrollIntoView({block: 'nearest'}), 100)"
)
"""Brings the newest frame into view once the page has it."""
OWN_STORY = -1
"""The choice of no example."""
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""What the browser's dialog offers; the content decides."""


def build_page(models: Sequence[Model], examples: Sequence[ExampleStory]) -> Any:
    """Return the page of one run, or of several side by side, which are asked together."""
    count = models[0].context_frames
    titles = titles_of(models)
    with gr.Blocks(title=f"vsr: {', '.join(titles)}", analytics_enabled=False) as page:
        gr.HTML(
            "<h1>Visual story reasoning</h1>"
            f"<p>From {count} images and their texts, the model predicts the next image and text of the story.</p>"
            "<h2>1. Choose a story, or bring your own</h2>"
        )
        with gr.Row(equal_height=True):
            example = gr.Dropdown(
                [*((each.title, index) for index, each in enumerate(examples)), ("Your own story", OWN_STORY)],
                value=0,
                label="Example story",
                filterable=False,
                min_width=280,
            )
            files = without_example(
                gr.File(
                    label=f"Or drop up to {count} images, with .txt files of the same names",
                    file_count="multiple",
                    file_types=[*SUFFIXES, ".txt"],
                    height=140,
                    elem_classes="drop",
                    min_width=280,
                )
            )
        images, texts = _frames(count, examples[0])
        gr.HTML("<h2>2. Predict how it goes on</h2>")
        with gr.Row(elem_classes="actions"):
            predict = gr.Button("Predict next frame", variant="primary", min_width=200)
            go_on = gr.Button("Continue several frames", min_width=200)
            choose = gr.Button("Show alternatives", min_width=200)
        with gr.Accordion("Settings", open=False), gr.Row():
            steps = gr.Slider(2, STEPS, 3, step=1, label="Frames of Continue", min_width=150)
            several = gr.Slider(2, ALTERNATIVES, 4, step=1, label="Number of alternatives", min_width=200)
            method = gr.Dropdown(
                [("as trained", OWN), *((each, each) for each in ("greedy", "beam", "sample"))],
                value=OWN,
                label="Decoding of texts",
                filterable=False,
                min_width=150,
            )
            seed = gr.Number(0, precision=0, label="Random seed", minimum=0, min_width=150)
        for caution in dict.fromkeys(line for model in models for line in model.cautions):
            gr.HTML(caution_html(caution))
        with gr.Row(equal_height=False, elem_classes="runs"):
            panels = []
            for number, (model, title) in enumerate(zip(models, titles, strict=True)):
                with gr.Column(min_width=320):
                    columns = count if len(models) == 1 else 2
                    panels.append(build_panel(model, number=number, title=title, columns=columns, seed=seed))
        example.input(
            lambda index: _filled(*(([], []) if index in (None, OWN_STORY) else examples[index].frames), count),
            example,
            [*images, *texts],
            api_visibility="private",
            show_progress="hidden",
        )
        files.upload(
            lambda paths: _dropped(paths, count),
            files,
            [example, files, *images, *texts],
            api_visibility="private",
            show_progress="hidden",
            concurrency_id=IMAGES,
            concurrency_limit=2,
        )
        for number, image in enumerate(images, start=1):
            _check_at_once(image, number)
        given = [*images, *texts]
        _connect(predict, panels, given, [method, seed], count)
        _connect(go_on, panels, given, [method, seed], count, steps=steps)
        _connect(choose, panels, given, [method, seed], count, alternatives=several)
        add_endpoints(dict(zip(titles, models, strict=True)))
    refuse_wrong_arguments(page)
    return page


def titles_of(models: Sequence[Model]) -> list[str]:
    """Return the names of the runs, each of them once."""
    names = [model.run.resolve().name for model in models]
    if len(set(names)) == len(names):
        return names
    return [f"{letter}: {name}" for letter, name in zip("ABCDEFGH", names, strict=False)]


def _frames(count: int, begin: ExampleStory) -> tuple[list[Any], list[Any]]:
    images, texts = [], []
    values = _filled(*begin.frames, count)
    with gr.Row(equal_height=False, elem_classes="frames"):
        for number in range(1, count + 1):
            with gr.Column(min_width=150, elem_classes="frame"):
                images.append(
                    uploaded_image(
                        value=values[number - 1], label=f"Image {number}", sources=["upload"], height=180, buttons=[]
                    )
                )
                texts.append(
                    gr.Textbox(
                        values[count + number - 1],
                        label=f"Text {number}",
                        lines=3,
                        max_lines=6,
                        placeholder="What happens in the image?",
                    )
                )
    return images, texts


def _filled(images: Sequence[Path | str], texts: Sequence[str], count: int) -> list[Any]:
    """Return values for the frames of the page, empty ones after those that there are."""
    pad = [None] * count
    return [*[*map(str, images), *pad][:count], *[*texts, *[""] * count][:count]]


def _dropped(paths: Sequence[str] | None, count: int) -> list[Any]:
    """Sort dropped files into the frames, or report why not; either way more can be dropped."""
    try:
        return [OWN_STORY, None, *_sorted_into_frames([Path(path) for path in paths or []], count)]
    except VsrError as error:
        warn_on_page(error)
        return [gr.skip(), None, *[gr.skip()] * (2 * count)]


def _sorted_into_frames(paths: Sequence[Path], count: int) -> list[Any]:
    """Return values for the frames: files are sorted by name, and 01.jpg and 01.txt belong together."""
    by_name = sorted(paths, key=lambda path: path.name)
    texts = {path.stem: path for path in by_name if path.suffix.lower() == ".txt"}
    images = [path for path in by_name if path.suffix.lower() != ".txt"]
    if len(images) > count:
        raise VsrError(f"{len(images)} images; drop at most {count}, the last ones of the story")
    if not images:
        raise VsrError(f"there is no image among the files; drop {count} images, with their .txt files if any")
    for number, path in enumerate(images, start=1):
        read_upload(str(path), where=f"image {number}")
    return _filled(images, [_read_text(texts[path.stem]) if path.stem in texts else "" for path in images], count)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise VsrError(f"{path.name}: it is not text in UTF-8; save it as UTF-8") from error


def _check_at_once(image: Any, number: int) -> None:
    """Report an image that cannot be read when it is dropped, and leave its place empty."""

    def check(path: str | None) -> Any:
        if path is None:
            return gr.skip()
        try:
            read_upload(path, where=f"image {number}")
        except VsrError as error:
            warn_on_page(error)
            return None
        return gr.skip()

    image.upload(
        check,
        image,
        image,
        api_visibility="private",
        show_progress="hidden",
        concurrency_id=IMAGES,
        concurrency_limit=2,
    )


def decoding_of(model: Model, method: str | None, seed: float | None, *, alternatives: int = 1) -> DecodingOptions:
    """Return the options of a prediction; several alternatives are sampled, unless the run's decoding is random."""
    options: DecodingOptions = {"seed": int(seed or 0)}
    if method and method != OWN:
        options["method"] = method  # type: ignore[typeddict-item]
    elif alternatives > 1 and model.config["decoding"]["method"] not in ("sample", "mbr"):
        options["method"] = "sample"
    return options


def _connect(
    button: Any,
    panels: Sequence[RunPanel],
    given: Sequence[Any],
    settings: Sequence[Any],
    count: int,
    *,
    steps: Any = None,
    alternatives: Any = None,
) -> None:
    """Let a button predict with all runs; the page is updated after each frame."""
    number = steps or alternatives

    def react(*values: Any) -> Iterator[list[Any]]:
        stories, values = list(values[: len(panels)]), values[len(panels) :]
        fields, (method, seed, *numbers) = values[: 2 * count], values[2 * count :]
        repeat = int(numbers[0]) if steps else 1
        several = int(numbers[0]) if alternatives else 1
        with errors_on_page():
            frames = read_given(fields[:count], fields[count:], least=1)
            if len(frames) < count:
                gr.Warning(f"The story has {len(frames)} of {count} frames, so its last one is repeated.")
            stories = [_begun(story, frames) for story in stories]
            for _ in range(repeat):
                for index, panel in enumerate(panels):
                    how = decoding_of(panel.model, method, seed, alternatives=several)
                    stories[index] = grow(panel.model, stories[index], alternatives=several, decoding=how)
                yield [value for panel, story in zip(panels, stories, strict=True) for value in panel.show(story)]

    clicked = button.click(
        react,
        [*(panel.story for panel in panels), *given, *settings, *([number] if number is not None else [])],
        [output for panel in panels for output in panel.outputs],
        api_visibility="private",
        concurrency_id=MODEL,
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=[panel.board for panel in panels],
    )
    clicked.success(nothing, js=SHOW_LAST, api_visibility="private", queue=False)


def _begun(story: PageStory, given: tuple[GivenFrame, ...]) -> PageStory:
    return story if story.is_of(given) else PageStory(given)
