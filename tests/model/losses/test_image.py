"""Image loss terms, alone and in a run."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torchmetrics.functional.image.ssim import structural_similarity_index_measure
from torchvision import models

from vsr_cli.api import VsrError
from vsr_cli.config.schema import ObjectiveOptions
from vsr_cli.model.losses.perceptual import LAYERS
from vsr_cli.model.losses.ssim import structural_similarity
from vsr_cli.model.losses.term import ForwardPass, TermRequest, build_terms
from vsr_cli.model.weights import frozen_names, load_model, load_weights
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.training import resume_train


def images(size=32):
    return torch.rand(2, 3, size, size), torch.rand(2, 3, size, size)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write MobileNetV2's weights, random ones, as torchvision's own file would hold them."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(models.mobilenet_v2(weights=None).state_dict(), path)
    return path


def perceptual(path, **more):
    return ObjectiveOptions(perceptual=1, perceptual_network="mobilenet_v2", perceptual_weights=str(path), **more)


def terms(objective, *, read_weights=True):
    """Build the terms of an objective that need no parts."""
    parts = SimpleNamespace(image_decoder=nn.Identity())
    request = TermRequest(objective=objective, parts=parts, width=8, steps=4, read_weights=read_weights)
    return nn.ModuleDict(build_terms(request))


def error(term, prediction, target):
    outputs = ForwardPass(
        parts=SimpleNamespace(image_decoder=None),
        context=None,
        target=SimpleNamespace(image=target),
        narrative=None,
        generate_image=lambda: prediction,
        gather=lambda rows: rows,
    )
    with torch.set_grad_enabled(prediction.requires_grad):
        return term(outputs)


def test_terms_without_a_weight_are_built_only_if_they_have_one_by_default():
    assert list(terms(ObjectiveOptions(perceptual_weights="absent"))) == ["text", "image", "alignment"]
    assert list(terms(ObjectiveOptions(image=0, l1=1, ssim=0.1))) == ["text", "l1", "ssim", "alignment"]


def test_l1_is_the_mean_absolute_error_and_the_ssim_term_is_one_minus_ssim():
    one, other = images()
    errors = terms(ObjectiveOptions(l1=3, ssim=0.5))
    assert torch.equal(error(errors["l1"], one, other), (one - other).abs().mean())
    assert torch.equal(error(errors["ssim"], one, other), 1 - structural_similarity(one, other))


@pytest.mark.parametrize("term", ["l1", "ssim"])
def test_each_term_is_0_for_the_target_and_its_gradient_leads_to_it(term):
    one, other = images()
    built = terms(ObjectiveOptions(**{term: 1}))[term]
    assert error(built, other, other).item() == pytest.approx(0, abs=1e-5)
    one.requires_grad_()
    error(built, one, other).backward()
    nearer = one.detach() - one.grad / one.grad.abs().max() * 0.01
    assert error(built, nearer, other) < error(built, one, other)


@pytest.mark.parametrize("size", [16, 33])
def test_ssim_equals_that_of_torchmetrics(size):
    one, other = images(size)
    other = 0.7 * one + 0.3 * other
    expected = structural_similarity_index_measure(one, other, sigma=1.5, kernel_size=11, data_range=1.0)
    torch.testing.assert_close(structural_similarity(one, other), expected, atol=1e-5, rtol=1e-5)


def test_ssim_keeps_its_precision_in_mixed_precision():
    one, other = images()
    other = one + 0.01 * other
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = structural_similarity(one, other)
    assert torch.equal(mixed, structural_similarity(one, other))


def test_the_perceptual_distance_is_0_for_the_target_and_its_network_does_not_train(weights):
    distance = terms(perceptual(weights)).train()["perceptual"]
    one, other = images()
    one.requires_grad_()
    error(distance, one, other).backward()
    assert one.grad.abs().sum() > 0
    assert error(distance, other, other).item() == pytest.approx(0, abs=1e-6)
    assert not any(part.training for part in distance.network.modules())
    assert frozen_names(distance) == distance.state_dict().keys()


@pytest.mark.parametrize("network", LAYERS)
def test_the_compared_layers_exist(network):
    objective = ObjectiveOptions(perceptual=1, perceptual_network=network, perceptual_weights="unread")
    distance = terms(objective, read_weights=False)["perceptual"]
    features = distance.network(torch.rand(1, 3, 32, 32))
    assert [maps.shape[-1] for maps in features.values()] == {
        "vgg16": [32, 16, 8, 4],
        "resnet50": [16, 8, 4, 2],
        "mobilenet_v2": [16, 8, 4, 2],
    }[network]


def test_weights_that_are_absent_broken_or_of_another_network_are_refused_in_one_line(weights, tmp_path):
    broken, other = tmp_path / "broken.pth", tmp_path / "other.safetensors"
    broken.write_bytes(b"no weights")
    save_file({"features.0.0.weight": torch.zeros(2)}, other)
    for path, said in (
        (tmp_path / "absent.pth", "cannot be read"),
        (broken, "cannot be read"),
        (other, r"not the weights of torchvision's mobilenet_v2"),
    ):
        with pytest.raises(VsrError, match=rf"{path.name}.*{said}.*objective\.perceptual_weights=FILE") as caught:
            terms(perceptual(path))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "bad", [{"perceptual": 0.1}, {"l1": -1}, {"perceptual_network": "vgg11"}, {"label_smoothing": 1}]
)
def test_bad_options_are_refused(bad):
    with pytest.raises(ValidationError):
        ObjectiveOptions(**bad)


@pytest.fixture(scope="module")
def run(train_small, weights, tmp_path_factory):
    """A run that was trained with all errors of the image, and whose file of weights is gone since."""
    folder = tmp_path_factory.mktemp("runs")
    path = shutil.copy(weights, folder)
    settings = ["image=0.5", "l1=2", "ssim=0.25", "perceptual=3", "perceptual_network=mobilenet_v2"]
    settings += [f"perceptual_weights={path}"]
    watched = ["training.best_metric=l1", "training.epochs=1"]
    made = train_small(folder / "run", *(f"objective.{each}" for each in settings), *watched)
    Path(path).unlink()
    return made


def rows(run):
    return [json.loads(line) for line in run.history.read_text().splitlines()]


def test_each_term_is_in_the_history_and_weighted(run):
    for losses in (rows(run)[0]["train"], rows(run)[0]["validation"]):
        assert list(losses) == ["loss", "text", "image", "l1", "ssim", "perceptual", "alignment"]
        of_image = 0.5 * losses["image"] + 2 * losses["l1"] + 0.25 * losses["ssim"] + 3 * losses["perceptual"]
        assert losses["loss"] == pytest.approx(losses["text"] + of_image + 0.5 * losses["alignment"], rel=1e-4)


def test_a_run_contains_the_frozen_network_and_does_not_need_its_file(run):
    kept = load_weights(run.folder / "frozen.safetensors")
    network = load_model(run, registry()).terms["perceptual"].network.state_dict()
    assert all(torch.equal(kept[f"terms.perceptual.network.{name}"], held) for name, held in network.items())
    assert not [name for name in load_weights(run.checkpoint("best") / "model.safetensors") if "perceptual" in name]
    resume_train(registry(), run.folder, data=None, epochs=2)
    first, second = rows(run)
    assert 0 < second["train"]["perceptual"] < first["train"]["perceptual"]


def test_best_metric_must_be_a_computed_term(train_small, tmp_path):
    with pytest.raises(
        VsrError, match=r"best_metric: ssim is measured only where it has a weight; .*objective\.ssim=1"
    ):
        train_small(tmp_path / "run", "training.best_metric=ssim")


def test_the_former_location_of_the_weights_is_an_unknown_option(train_small, tmp_path):
    with pytest.raises(VsrError, match=r"image decoder deconv has no option 'l1'"):
        train_small(tmp_path / "run", "image_decoder.l1=1")
