"""The errors that an image decoder can be trained on."""

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torchmetrics.functional.image.ssim import structural_similarity_index_measure
from torchvision import models

from vsr_cli.api import BuildContext, ImageLossOptions, VsrError, build_image_loss
from vsr_cli.api.image_loss.perceptual import LAYERS
from vsr_cli.api.image_loss.terms import structural_similarity
from vsr_cli.model.weights import frozen_names


def context(assets=None):
    return BuildContext(width=8, steps=4, image_size=32, training_texts=list, assets=assets)


def images(size=32):
    return torch.rand(2, 3, size, size), torch.rand(2, 3, size, size)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Write MobileNetV2's weights, random ones, as torchvision's own file would hold them."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.pth"
    torch.save(models.mobilenet_v2(weights=None).state_dict(), path)
    return path


def perceptual(weights, **more):
    return ImageLossOptions(perceptual_network="mobilenet_v2", perceptual_weights=str(weights), **more)


def test_by_default_it_is_the_mean_squared_error_to_the_bit():
    one, other = images()
    assert torch.equal(build_image_loss(ImageLossOptions(), context())(one, other), ((one - other) ** 2).mean())


def test_the_terms_are_weighted_and_added():
    one, other = images()
    loss = build_image_loss(ImageLossOptions(mse=2, l1=3, ssim=0.5), context())
    expected = 2 * ((one - other) ** 2).mean() + 3 * (one - other).abs().mean()
    expected += 0.5 * (1 - structural_similarity(one, other))
    torch.testing.assert_close(loss(one, other), expected)


@pytest.mark.parametrize("term", ["mse", "l1", "ssim"])
def test_each_term_is_0_for_the_target_itself_and_leads_to_it(term):
    one, other = images()
    loss = build_image_loss(ImageLossOptions(**{"mse": 0, term: 1}), context())
    assert loss(other, other).item() == pytest.approx(0, abs=1e-5)
    one.requires_grad_()
    loss(one, other).backward()
    nearer = one.detach() - one.grad / one.grad.abs().max() * 0.01
    assert loss(nearer, other) < loss(one, other)


@pytest.mark.parametrize("size", [16, 33])
def test_ssim_is_the_metrics_own(size):
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
    loss = build_image_loss(perceptual(weights, mse=0, perceptual=2), context()).train()
    one, other = images()
    one.requires_grad_()
    value = loss(one, other)
    value.backward()
    assert one.grad.abs().sum() > 0
    assert loss(other, other).item() == pytest.approx(0, abs=1e-6)
    assert not any(part.training for part in loss.perceptual.network.modules())
    assert frozen_names(loss) == loss.state_dict().keys()
    half = build_image_loss(perceptual(weights, mse=0, perceptual=1), context())
    torch.testing.assert_close(value, 2 * half(one, other))


def test_a_run_holds_the_network_and_needs_its_file_no_more(weights, tmp_path):
    options = perceptual(tmp_path / "gone.pth", perceptual=1)
    loss = build_image_loss(options, context(assets=tmp_path))
    first = build_image_loss(perceptual(weights, perceptual=1), context())
    loss.load_state_dict(first.state_dict())
    one, other = images()
    assert torch.equal(loss(one, other), first(one, other))


@pytest.mark.parametrize("network", LAYERS)
def test_the_layers_that_are_compared_are_there(network):
    options = ImageLossOptions(perceptual=1, perceptual_network=network, perceptual_weights="unread")
    loss = build_image_loss(options, context(assets="a run's"))
    features = loss.perceptual.network(torch.rand(1, 3, 32, 32))
    assert [maps.shape[-1] for maps in features.values()] == {
        "vgg16": [32, 16, 8, 4],
        "resnet50": [16, 8, 4, 2],
        "mobilenet_v2": [16, 8, 4, 2],
    }[network]


def test_what_has_no_weight_is_not_even_built():
    assert build_image_loss(ImageLossOptions(perceptual_weights="absent"), context()).state_dict() == {}


def test_weights_that_are_absent_broken_or_of_another_network_are_refused_in_one_line(weights, tmp_path):
    broken, other = tmp_path / "broken.pth", tmp_path / "other.safetensors"
    broken.write_bytes(b"no weights")
    save_file({"features.0.0.weight": torch.zeros(2)}, other)
    for path, said in (
        (tmp_path / "absent.pth", "cannot be read"),
        (broken, "cannot be read"),
        (other, r"not the weights of torchvision's mobilenet_v2"),
    ):
        with pytest.raises(VsrError, match=rf"{path.name}.*{said}.*perceptual_weights=FILE") as caught:
            build_image_loss(perceptual(path, perceptual=1), context())
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("bad", [{"perceptual": 0.1}, {"mse": -1}, {"perceptual_network": "vgg11"}])
def test_bad_options_are_refused(bad):
    with pytest.raises(ValidationError):
        ImageLossOptions(**bad)
