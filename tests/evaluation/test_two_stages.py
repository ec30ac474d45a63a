"""Write, then draw: an image decoder that reads the next text reads the generated one in every prediction."""

import numpy as np
import pytest
import torch

from vsr_cli.api import Decoding, VsrError
from vsr_cli.config.experiment import resolve_metrics
from vsr_cli.data.prepared import open_prepared
from vsr_cli.data.prepared_types import Frames
from vsr_cli.data.shards import ArrayRows
from vsr_cli.evaluation.evaluate import evaluate
from vsr_cli.evaluation.model_predictions import Part
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry
from vsr_cli.plugin.registry import Registry
from vsr_cli.runs.history import read_history
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.training import run_train

from ..generative_decoder import PROVIDED

CPU = torch.device("cpu")
SMALL = [
    *("model.width=16", "visual.size=32", "text.channels=16", "text.vocabulary_size=500", "text_decoder.length=24"),
    *("training.epochs=1", "training.device=cpu", "training.batch_size=4", "image_decoder.name=text-painter"),
]


@pytest.fixture(scope="module")
def plugins():
    return Registry((*registry().provided, PROVIDED))


@pytest.fixture(scope="module")
def data(prepare_ten_stories):
    return prepare_ten_stories("data.image_size=32", "data.test=0.3", "data.window=first")


def train(plugins, data, folder, *assignments):
    manifest = open_prepared(data).manifest
    chosen = [*SMALL, *assignments]
    config = train_config(plugins, manifest=manifest, preset=None, config=None, flags={}, assignments=chosen)
    return run_train(config, data, folder)


@pytest.fixture(scope="module")
def run(plugins, data, tmp_path_factory):
    return train(plugins, data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def model(run, plugins):
    """Make the model sensitive to its input; one epoch would not."""
    model = load_model(run, plugins).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for part in (model.temporal, model.text_decoder, model.image_decoder):
            for parameter in part.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def predicted(model, prepared, decoding=None):
    """Return the texts and images that the model predicts for the test split, as evaluation stores them."""
    metrics = resolve_metrics(registry(), ["mse"], [])
    part = Part(prepared, prepared, lambda: model)
    found = evaluate([part], prepared, "test", metrics, decoding=decoding or Decoding(), device=CPU)
    images = found.images.gather(np.arange(len(found.predictions)))
    return [item["prediction"] for item in found.predictions], [image.tobytes() for image in images]


def corrupt_targets(data):
    """Return the prepared data with other images and texts in place of the targets of the test split."""
    prepared = open_prepared(data)
    windows, texts = prepared.windows("test"), list(prepared.frames.texts)
    images = prepared.frames.images.gather(np.arange(len(prepared.frames.images)))
    assert not set(windows.image_rows[:, 4]) & set(windows.image_rows[:, :4].flat)
    images[windows.image_rows[:, 4]] = np.random.default_rng(0).integers(0, 256, images.shape[1:], dtype=np.uint8)
    for number, row in enumerate(windows.text_rows[:, 4]):
        texts[row] = f"nonsense {number} " * 50
    prepared.__dict__["frames"] = Frames(ArrayRows(images), texts)
    return prepared


def test_corrupting_the_true_text_and_image_changes_no_prediction_by_a_byte(model, data):
    assert predicted(model, corrupt_targets(data)) == predicted(model, open_prepared(data))


def test_the_image_depends_on_the_generated_text_and_the_seed(model, data):
    # Without this, the test above would hold for a decoder that reads no text at all.
    texts, images = predicted(model, open_prepared(data))
    seeded = predicted(model, open_prepared(data), Decoding(seed=1))
    assert seeded[0] == texts
    assert all(one != other for one, other in zip(seeded[1], images, strict=True))
    model.text_decoder.detokenize = lambda ids: ["" for _ in ids]
    assert all(one != other for one, other in zip(predicted(model, open_prepared(data))[1], images, strict=True))


def test_the_loss_of_a_generative_decoder_is_trained_and_validated(run):
    (epoch,) = read_history(run.history)
    assert epoch["train"]["image"] > 0
    assert epoch["validation"]["image"] > 0


def test_a_term_that_compares_images_is_refused_in_one_line_before_training(plugins, data, tmp_path):
    with pytest.raises(VsrError) as caught:
        train(plugins, data, tmp_path / "run", "objective.ssim=0.5", "objective.l1=1")
    assert str(caught.value) == (
        "image decoder 'text-painter': generates no image in training, which objective.l1 would compare with the true "
        "one (got 1); set objective.l1 and objective.ssim to 0, or choose another, e.g. --image-decoder deconv"
    )
