"""`vsr evaluate`: scores, each beside its floor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ..api import Decoding
from ..config import CONTEXT_FRAMES, FeatureOptions
from ..console import out as console
from ..console import warn
from ..errors import VsrError
from ..files import replacing, write_json
from ..layers import Choice
from ..plugin.registry import Registry
from ..run import Run

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..data.prepared import Prepared
    from ..evaluation.evaluate import Evaluation

DEFAULT_METRICS = ("bleu", "rouge", "meteor")


def data_of(run: Run, folder: Path | None) -> Path:
    """Give the data to evaluate on: the folder named, or the one that the run was trained on."""
    trained_on = Path(run.facts()["data"])
    if folder is None and not trained_on.is_dir():
        raise VsrError(f"{trained_on}: the data that {run.folder} was trained on is not there; name it with --data DIR")
    return folder or trained_on


def run_evaluate(found: Registry, run: Run, data: Path, split: str, metrics: Sequence[Choice]) -> dict[str, Any]:
    """Score a run and keep the result, the predictions and a picture of some of them in the run folder."""
    from ..data.prepared import open_prepared
    from ..evaluation.evaluate import check_image_size, evaluate
    from ..model.weights import choose_device, load_model

    prepared = open_prepared(data)
    check_image_size(prepared, run.config())
    device = choose_device("auto")
    model = load_model(run, found)
    features = FeatureOptions(**run.config()["features"])
    evaluation = evaluate(model, prepared, split, metrics, decoding=Decoding(), device=device, feature_options=features)
    result = {"run": str(run.folder), "data": str(data), **evaluation.result}
    folder = run.folder / "evaluations" / split
    write_json(folder / "result.json", result)
    _write_predictions(folder / "predictions.jsonl", evaluation.predictions)
    _draw(prepared, evaluation, folder / "storyboards.png")
    return result


def show_result(result: dict[str, Any], folder: Path) -> None:
    """Print the table, and where the pictures are."""
    title = f"{result['split']} split: {result['stories']} stories, {result['windows']} windows, free-running"
    table = Table(title=escape(title), title_justify="left")
    for name in ("metric", "model", "copy-last", "beats it", "scale"):
        table.add_column(name, justify="right" if name in ("model", "copy-last") else "left")
    for name, score in result["metrics"].items():
        if "unavailable" in score:
            table.add_row(name, "unavailable", "", "", "")
            warn(score["unavailable"])
            continue
        floor = score["floors"]["copy-last"]
        beats = "[green]yes[/green]" if floor["beats"] else "[red]no[/red]"
        table.add_row(name, f"{score['value']:.4g}", f"{floor['value']:.4g}", beats, escape(score["scale"]))
    console.print(table)
    left_out = {name: count for name, count in result["leaks"].items() if count}
    if left_out:
        listed = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in left_out.items())
        console.print(f"left out of the scores: {listed}")
    console.print(f"signature {result['signature']}", markup=False, soft_wrap=True)
    console.print(f"pictures  {folder / 'storyboards.png'}", markup=False, soft_wrap=True)


def _write_predictions(path: Path, predictions: Sequence[dict[str, Any]]) -> None:
    import json

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as lines:
        for prediction in predictions:
            lines.write(json.dumps(prediction, ensure_ascii=False) + "\n")


def _draw(prepared: Prepared, evaluation: Evaluation, path: Path) -> None:
    from PIL import Image

    from ..data.images import unfit_image
    from ..report.storyboard import context_panel, draw_storyboard, predicted_panel, save_picture, true_panel

    facts = prepared.image_facts

    def shown(pixels: NDArray[np.uint8], row: int) -> Image.Image:
        """Show a square in the proportions of the picture in a row."""
        width, height = int(facts.width[row]), int(facts.height[row])
        return unfit_image(Image.fromarray(pixels), width=width, height=height, resize=prepared.resize)

    rows = []
    for index, text, image in evaluation.shown:
        image_rows = evaluation.windows.image_rows[index]
        pictures = list(map(shown, prepared.frames.images.gather(image_rows), image_rows))
        captions = [prepared.frames.texts[row] for row in evaluation.windows.text_rows[index]]
        start = int(evaluation.windows.starts[index]) + 1
        row = [context_panel(start + k, pictures[k], captions[k]) for k in range(CONTEXT_FRAMES)]
        row.append(true_panel(pictures[-1], captions[-1]))
        row.append(predicted_panel(shown(image, image_rows[-2]), text))
        rows.append(row)
    save_picture(draw_storyboard(rows), path)
