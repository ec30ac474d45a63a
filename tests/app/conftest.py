"""A small trained run on a served page."""

import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

TEXTS = [f"Ana finds thing number {number}." for number in range(1, 5)]


@pytest.fixture(scope="session")
def models(tmp_path_factory, train_small):
    """Two runs, of which the first draws from texts."""
    import vsr_cli as vsr

    runs = tmp_path_factory.mktemp("runs")
    drawing = ("image_decoder.name=tokens", "image_decoder.autoencoder=storyworld")
    folders = [train_small(runs / name, *more).folder for name, more in (("one", drawing), ("two", ()))]
    return [vsr.load(folder, device="cpu") for folder in folders]


@pytest.fixture(scope="module")  # Gradio has one temporary folder for a process
def comparison(models):
    """Serve both runs side by side, and return the address."""
    from vsr_cli.app.serving import served_app

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ALLOWED_PATHS", "/")  # what a shell has set opens nothing
        with served_app(models) as url:
            yield url


@pytest.fixture(scope="module")
def address(models):
    """Serve the first run, and return the address."""
    from vsr_cli.app.serving import served_app

    with served_app(models[:1]) as url:
        yield url


@pytest.fixture(scope="session")
def story(tmp_path_factory) -> Path:
    """Write four images, with a text each."""
    folder = tmp_path_factory.mktemp("stories") / "ana"
    folder.mkdir()
    for number, text in enumerate(TEXTS, start=1):
        image = Image.new("RGB", (48, 32), (20 * number, 90, 200 - 20 * number))
        ImageDraw.Draw(image).ellipse((4 * number, 6, 4 * number + 18, 24), fill=(230, 40 * number, 60))
        image.save(folder / f"{number:02}.png")
        (folder / f"{number:02}.txt").write_text(f"{text}\n", encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def _nothing_breaks_in_the_server(capfd):
    """Fail if a request leaves a traceback in the server's log."""
    yield
    out, err = capfd.readouterr()
    sys.stderr.write(err)
    assert "Traceback" not in out + err
