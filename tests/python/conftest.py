"""Fixtures of the Python API: a trained model, and a story folder."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import vsr_cli as vsr

TEXTS = [f"Ana finds thing number {number}." for number in range(1, 7)]


@pytest.fixture(scope="session")
def run(tmp_path_factory, train_small) -> Path:
    return train_small(tmp_path_factory.mktemp("runs") / "run").folder


@pytest.fixture(scope="session")
def model(run) -> vsr.Model:
    return vsr.load(run, device="cpu")


@pytest.fixture(scope="session")
def images() -> list[Image.Image]:
    """Return five images with something to see in each."""
    made = []
    for number in range(1, 6):
        image = Image.new("RGB", (48, 32), (20 * number, 90, 200 - 20 * number))
        ImageDraw.Draw(image).ellipse((4 * number, 6, 4 * number + 18, 24), fill=(230, 40 * number, 60))
        made.append(image)
    return made


@pytest.fixture(scope="session")
def story(tmp_path_factory, images) -> Path:
    """Write the first four images with their texts as a story folder."""
    folder = tmp_path_factory.mktemp("stories") / "ana"
    folder.mkdir()
    for number, (image, text) in enumerate(zip(images[:4], TEXTS, strict=False), start=1):
        image.save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(f"{text}\n", encoding="utf-8")
    return folder
