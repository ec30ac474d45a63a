"""Every shipped component passes the checks of its kind, a new one with no line added here.

Only one that cannot be built as it is, or that is large, has a line below: what makes it small, or what it reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from vsr_cli.plugin.discovery import GROUP, discover
from vsr_cli.plugin.registry import Provided
from vsr_cli.plugin_checks.check import check

from . import small_models, small_pipelines, small_vlms, sources

OURS = [point for point in entry_points(group=GROUP) if point.value.startswith("vsr_plugins.")]
REGISTRY = discover(OURS, disabled=set())


@dataclass(frozen=True)
class Needs:
    settings: tuple[str, ...] = ()
    """With {bert}, {clip}, {gpt2}, {idefics3} and {sd} for the folders of small models, {alexnet} for a file."""
    source: Callable[[Path], Path] | None = None
    """Writes what a dataset reads."""
    unpromised: str | None = None
    """A check that cannot hold without true weights."""


NEEDS: dict[tuple[str, str], Needs] = {
    ("visual", "resnet50"): Needs(("visual.weights=random",)),
    ("visual", "mobilenet_v2"): Needs(("visual.weights=random",)),
    ("visual", "torchvision"): Needs(("visual.weights=random", "visual.architecture=mobilenet_v3_small")),
    ("visual", "timm"): Needs(("visual.weights=random", "visual.model=test_resnet")),
    ("visual", "hf-vision"): Needs(("visual.model={clip}",)),
    ("text", "distilbert"): Needs(("text.model={bert}", "text.frozen_layers=1")),
    ("text", "hf-text"): Needs(("text.model={bert}",)),
    ("image_decoder", "deconv"): Needs(("image_decoder.channels=16",)),
    ("image_decoder", "upsample"): Needs(("image_decoder.channels=16",)),
    ("image_decoder", "residual"): Needs(("image_decoder.channels=16",)),
    ("image_decoder", "diffusion"): Needs(
        ("image_decoder.model={sd}", "image_decoder.trained=lora", "image_decoder.steps=2")
    ),
    ("image_decoder", "tokens"): Needs(
        ("image_decoder.autoencoder_steps=2", "image_decoder.width=32", "image_decoder.layers=1")
    ),
    ("text_decoder", "lm"): Needs(
        (
            *("text_decoder.model={gpt2}", "text_decoder.trained=all"),
            *("text_decoder.length=16", "text_decoder.context_length=60"),
        )
    ),
    ("text_decoder", "vlm"): Needs(
        (
            *("text_decoder.model={idefics3}", "text_decoder.trained=all"),
            *("text_decoder.length=16", "text_decoder.prompt=on"),
        )
    ),
    ("dataset", "storyworld"): Needs(("dataset.stories=3",)),
    ("dataset", "folder"): Needs(source=sources.story_folders),
    ("dataset", "csv"): Needs(source=sources.table),
    ("dataset", "jsonl"): Needs(source=sources.json_lines),
    ("dataset", "vist"): Needs(source=sources.vist),
    ("dataset", "hf"): Needs(source=sources.hub_folder),
    ("dataset", "story-reasoning"): Needs(source=sources.story_reasoning),
    ("metrics", "bertscore"): Needs(("metrics.bertscore.model={bert}",)),
    ("metrics", "lpips"): Needs(("metrics.lpips.weights={alexnet}",)),
    ("metrics", "clip-image"): Needs(("metrics.clip-image.model={clip}",)),
    ("metrics", "clipscore"): Needs(
        ("metrics.clipscore.model={clip}",), unpromised="the truth scores no worse than other texts and images"
    ),
}


ELSEWHERE = {("metrics", "fid")}
"""Checked by hand: torch-fidelity, which it needs, installs a package `tests` beside this one."""

SLOW = {"resnet50"}
"""It cannot be made small."""


def save_models(folder: Path) -> dict[str, Path]:
    """Write the small models that `NEEDS` names for components of a model."""
    return {
        "bert": small_models.save_bert(folder / "bert"),
        "clip": small_models.save_clip(folder / "clip"),
        "gpt2": small_models.save_gpt2(folder / "gpt2"),
        "idefics3": small_vlms.save_idefics3(folder / "idefics3"),
        "sd": small_pipelines.save_sd(folder / "sd"),
    }


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {**save_models(folder), "alexnet": small_models.save_alexnet(folder / "alexnet")}


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(
            entry,
            marks=[pytest.mark.slow] if entry.component.name in SLOW else [],
            id=f"{entry.section}-{entry.component.name}",
        )
        for entry in REGISTRY.provided
        if (entry.section, entry.component.name) not in ELSEWHERE
    ],
)
def test_component_passes_every_check(entry: Provided, models: dict[str, Path], tmp_path: Path):
    needs = NEEDS.get((entry.section, entry.component.name), Needs())
    settings = [setting.format_map(models) for setting in needs.settings]
    source = str(needs.source(tmp_path / "source")) if needs.source else None
    outcomes = list(check(REGISTRY, entry, assignments=settings, source=source))
    failed = [str(outcome) for outcome in outcomes if not outcome.passed and outcome.check != needs.unpromised]
    assert failed == [], "say in NEEDS what it needs, if it needs anything to be built"


def test_needs_name_existing_components():
    assert NEEDS.keys() <= {(entry.section, entry.component.name) for entry in REGISTRY.provided}
