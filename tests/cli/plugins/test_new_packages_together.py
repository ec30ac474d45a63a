"""Every command with packages that `vsr plugins new` wrote."""

import json

import pytest
from PIL import Image

from .conftest import NAMES

PARTS = (
    *("--visual", NAMES["visual-encoder"], "--text", NAMES["text-encoder"], "--fusion", NAMES["fusion"]),
    *("--temporal", NAMES["temporal-model"], "--text-decoder", NAMES["text-decoder"]),
    *("--image-decoder", NAMES["image-decoder"], "--set", "model.width=16", "--epochs", "1"),
)


@pytest.mark.slow
def test_new_packages_are_prepared_trained_scored_and_compared(packages, site, vsr, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(site.folder / "cache"))
    for package in packages.values():
        site.install(package)

    def cached():
        return json.loads(vsr("cache list --json").out)["features"]

    def there(*words):
        done = site.run("vsr_cli", *words)
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        return done

    encoders = ("--visual", NAMES["visual-encoder"], "--text", NAMES["text-encoder"])
    sizes = (*encoders, "--set", "dataset.stories=16", "--set", "data.image_size=32", "--set", "data.test=0.25")
    squares = json.loads(there("prepare", "--dataset", NAMES["dataset"], *sizes, "--out", "squares", "--json").stdout)
    assert squares["counts"]["stories_read"] == 16
    # Its squares are so alike that no window of another split would count.
    there("prepare", "--dataset", "storyworld", *sizes, "--out", "data")
    kept = cached()
    assert [each["kind"] for each in kept] == ["visual"], "both data in one set; the text encoder trains whole"

    trained = there("train", "--data", "data", *PARTS, "--out", "run")
    assert cached() == kept, "training encoded nothing anew"
    assert "epoch 1/1" in trained.stderr

    scored = json.loads(there("evaluate", "--run", "run", "--metrics", NAMES["metric"], "mrr-image", "--json").stdout)
    assert scored["metrics"][NAMES["metric"]]["value"] > 0
    assert scored["metrics"]["mrr-image"]["value"] > 0

    for number in range(1, 5):
        Image.new("RGB", (40, 40), (50 * number, 0, 0)).save(site.folder / f"{number:02d}.png")
        (site.folder / f"{number:02d}.txt").write_text(f"Now there are {number} red squares.\n")
    story = site.folder / "story"
    story.mkdir()
    for path in [*site.folder.glob("0*.png"), *site.folder.glob("0*.txt")]:
        path.rename(story / path.name)
    predicted = json.loads(there("predict", "story", "--run", "run", "--json").stdout)
    assert isinstance(predicted["text"], str)

    ablation = ("--temporal", NAMES["temporal-model"], "gru", "--seeds", "1", "--metrics", NAMES["metric"], "mrr-image")
    rest = [word for word in PARTS if word not in ("--temporal", NAMES["temporal-model"])]
    done = json.loads(there("ablate", "--data", "data", *ablation, *rest, "--out", "ablation", "--json").stdout)
    assert [each["values"]["temporal"] for each in done["combinations"]] == [NAMES["temporal-model"], "gru"]
    assert done["failed"] == {}
