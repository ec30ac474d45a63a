"""The model card of a run: what it is, how it scores, what it was trained on, its limits, and how to use it.

A card of the Hugging Face Hub is a README.md whose YAML head its site reads. Every number is a stored one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..quantities import counted
from ..runs.hub import hub_id
from ..runs.results import BETTER, Evaluated, name_of_data
from ..runs.run import Run
from .markdown import plain, scores_beside_baselines
from .provenance import copied_shares, described_baselines, leaks_line, provenance

LIBRARY = "vsr"
TASK, TASK_NAME = "any-to-any", "Next frame of a story"
"""The Hub's name for models that read and generate several kinds of content, and ours."""
TAGS = ("vsr", "visual-storytelling", "story-continuation", "multimodal")
OF_THIS_MACHINE = ("command", "prepared in")
"""Facts about a run that name folders of the machine that trained it."""


def model_card(
    run: Run,
    evaluations: Sequence[Evaluated],
    *,
    manifest: Mapping[str, Any],
    history: list[dict[str, Any]],
    name: str | None = None,
    licence: str | None = None,
    storyboards: str | None = None,
) -> str:
    """Return the card of a run as Markdown with a YAML head.

    `manifest` is that of the data that it was trained on, empty if it is gone. `name` is its id on the Hub, None if it
    has none yet; `licence` that of the weights; `storyboards` the path or address of an image of predictions.
    """
    from huggingface_hub import ModelCardData

    title = (name or run.folder.resolve().name).split("/")[-1]
    data = _dataset(run, manifest)
    metrics = list(dict.fromkeys(metric for each in evaluations for metric in each.available))
    head = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        license=licence,
        tags=[*TAGS, *sorted({str(run.config()["temporal"]["name"])} - set(TAGS))],
        datasets=[data["source"]] if _is_on_hub(data) else None,
        metrics=metrics or None,
        model_name=title,
        eval_results=[result for each in evaluations for result in _results(each, data)] or None,
    )
    facts = provenance(run.folder, evaluations[0].result if evaluations else {}, manifest=manifest, history=history)
    shown = {part: {k: v for k, v in of.items() if k not in OF_THIS_MACHINE} for part, of in facts.items()}
    frames = run.config().get("data", {}).get("context_frames", 4)
    lines = [
        f"# {plain(title)}",
        "",
        f"Given {frames} (image, text) pairs of a story, this model predicts the next pair: its text and its image. It "
        f"was trained with `vsr`, on {plain(_sentence(data))}.",
        "",
        "## How to use it",
        "",
        *_usage(name),
        "",
    ]
    if storyboards:
        lines += [
            "## Predictions",
            "",
            f"![Stories, each with the actual next frame and the predicted one]({storyboards})",
            "",
        ]
        lines += ["Evenly spaced windows of the split, not chosen by their scores.", ""]
    lines += ["## Evaluation", ""]
    if not evaluations:
        lines += ["This run has no stored evaluation.", ""]
    for each in evaluations:
        lines += _evaluation(each)
    lines += ["## Limits", "", *(f"- {limit}" for limit in _limits(run, evaluations, data)), ""]
    for part, title_of in (("model", "Model"), ("training", "Training")):
        if shown.get(part):
            lines += [f"## {title_of}", "", *(f"- {key}: {plain(value)}" for key, value in shown[part].items()), ""]
    lines += ["## Training data", "", *(f"- {key}: {plain(value)}" for key, value in data.items())]
    lines += [f"- {key}: {plain(value)}" for key, value in shown.get("data", {}).items() if key not in data]
    return "\n".join(["---", head.to_yaml(), "---", "", *lines, ""])


def _dataset(run: Run, manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return what is known of the training data: its dataset, and the source, revision and licence that it recorded."""
    found = {"dataset": str(run.config().get("data", {}).get("dataset", "unknown"))}
    source = manifest.get("source", {})
    found |= {key: str(source[key]) for key in ("source", "revision") if source.get(key)}
    return found | {"licence of the data": str(source.get("licence") or "not recorded")}


def _is_on_hub(data: Mapping[str, str]) -> bool:
    return data.get("revision", "local files") != "local files" and hub_id(data.get("source", "")) is not None


def _sentence(data: Mapping[str, str]) -> str:
    return f"stories of {data['source']}" if _is_on_hub(data) else f"stories of the dataset {data['dataset']}"


def _usage(name: str | None) -> list[str]:
    where = name or "user/name"
    return [
        "With a folder `my_story/` of numbered pairs, `01.jpg` and `01.txt`, and so on:",
        "",
        "```",
        f"vsr predict my_story/ --run {where}",
        "```",
        "",
        "```python",
        "import vsr_cli as vsr",
        f'frame = vsr.load("{where}").predict("my_story/")',
        "```",
    ]


def _results(evaluated: Evaluated, data: Mapping[str, str]) -> list[Any]:
    """Return an entry of the model-index for each metric, with its interval."""
    from huggingface_hub import EvalResult

    dataset, called = data["source"] if _is_on_hub(data) else data["dataset"], data["dataset"]
    if evaluated.other_data is not None:
        dataset = called = name_of_data(Path(evaluated.result["data"]))
    decoding = (evaluated.result.get("decoding") or {}).get("method")
    about = {"stories": evaluated.result["stories"], "windows": evaluated.result["windows"]}
    return [
        EvalResult(
            task_type=TASK,
            task_name=TASK_NAME,
            dataset_type=dataset,
            dataset_name=called,
            dataset_split=evaluated.split,
            # Evaluations of one split that differ in nothing but this would otherwise be published as one.
            dataset_config=None if evaluated.label == evaluated.split else evaluated.label,
            dataset_args={**about, **({"decoding": decoding} if decoding else {})},
            metric_type=metric,
            metric_name=f"{metric} ({cell['scale']})",
            metric_value=cell["value"],
            metric_args={"95% interval over stories": cell["ci95"]} if cell["ci95"] else None,
        )
        for metric, cell in evaluated.available.items()
    ]


def _evaluation(evaluated: Evaluated) -> list[str]:
    result = evaluated.result
    decoding = (result.get("decoding") or {}).get("method")
    lines = [
        f"### {evaluated.label[:1].upper()}{evaluated.label[1:]} split"
        if evaluated.label == evaluated.split
        else f"### {plain(evaluated.label)}",
        "",
        f"{counted(result['windows'], 'window')} of {counted(result['stories'], 'story')}, free-running"
        f"{f' with {decoding} decoding' if decoding else ''}: the model never sees the target.",
        "",
        *scores_beside_baselines(evaluated),
        "",
        *(f"- {name}: {meaning}" for name, meaning in described_baselines(evaluated).items() if meaning),
        *(f"- {name} is unavailable: {plain(cell['unavailable'])}" for name, cell in _unavailable(evaluated).items()),
    ]
    if leaks := leaks_line(result["leaks"]):
        lines.append(f"- left out of the scores: {leaks}")
    return [*lines, "", "`{}`".format(str(result["signature"]).replace("`", "'")), ""]


def _unavailable(evaluated: Evaluated) -> dict[str, Mapping[str, Any]]:
    return {name: cell for name, cell in evaluated.result["metrics"].items() if "unavailable" in cell}


def _limits(run: Run, evaluations: Sequence[Evaluated], data: Mapping[str, str]) -> list[str]:
    """Return what the run's own files say about its limits."""
    config = run.config()
    of_data = config.get("data", {})
    size, seed = of_data.get("image_size"), config["training"].get("seed")
    limits = [
        f"It was trained on {plain(_sentence(data))} only. Other subjects, styles and languages are untested.",
        f"It is one training run (random seed {seed}): the intervals cover the choice of stories, not the variation "
        "between trainings.",
    ]
    if size:
        limits.append(f"It works on images of {size}x{size} pixels ({of_data.get('resize', 'resized')}).")
    for each in evaluations:
        where = f"{each.label} split" if each.label == each.split else each.label
        shares = "; ".join(f"{title}: {share}" for title, share in copied_shares(each.result).items())
        if shares:
            limits.append(f"What it copies ({plain(where)}): {plain(shares)}.")
        behind = {
            metric: [name for name, of in cell["baselines"].items() if of.get("verdict") not in (None, BETTER)]
            for metric, cell in each.available.items()
        }
        listed = "; ".join(f"{metric}: {', '.join(names)}" for metric, names in behind.items() if names)
        if listed:
            limits.append(f"Baselines than which it is not significantly better ({plain(where)}): {plain(listed)}.")
        limits += [f"{plain(caution)} ({plain(where)})." for caution in each.result["cautions"]]
    return limits
