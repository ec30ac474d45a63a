import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchmetrics.functional.image.lpips import _LPIPS
from torchvision import models

from vsr_cli.api import VsrError
from vsr_plugins.metrics import LpipsOptions
from vsr_plugins.metrics.lpips import build

from .samples import image_sample


@pytest.fixture(scope="module")
def state():
    """Return AlexNet's features with random weights, by the names that torchvision gives them."""
    torch.manual_seed(0)
    return {f"features.{name}": tensor for name, tensor in models.alexnet(weights=None).features.state_dict().items()}


@pytest.fixture
def weights(state, tmp_path):
    save_file(state, tmp_path / "alexnet.safetensors")
    return tmp_path / "alexnet.safetensors"


def pictures(size=64):
    return np.random.default_rng(0).integers(0, 256, (2, 3, size, size, 3), dtype=np.uint8)


def samples(predicted, true):
    return [image_sample(one, other) for one, other in zip(predicted, true, strict=True)]


def lpips(path):
    return build(LpipsOptions(weights=str(path)))


def test_distances_equal_torchmetrics(weights, state):
    predicted, true = pictures()
    rival = _LPIPS(pretrained=True, net="alex", pnet_rand=True)
    for stage in range(1, 6):
        part = getattr(rival.net, f"slice{stage}")
        part.load_state_dict({name: state[f"features.{name}"] for name in part.state_dict()})
    as_pixels = [torch.from_numpy(each).permute(0, 3, 1, 2).float() / 255 for each in (predicted, true)]
    expected = rival(*as_pixels, normalize=True).flatten().tolist()
    assert lpips(weights).measure(samples(predicted, true))[:, 0].tolist() == pytest.approx(expected, rel=1e-3)


def test_identical_image_has_distance_0_and_score_is_the_mean(weights):
    predicted, true = pictures()
    metric = lpips(weights)
    assert metric.measure(samples(true, true))[:, 0].tolist() == [0, 0, 0]
    measured = metric.measure(samples(predicted, true))
    assert metric.combine(measured) == {"lpips": pytest.approx(measured.mean())}
    assert measured.min() > 0


def test_small_images_are_measured(weights):
    predicted, true = pictures(16)
    assert np.isfinite(lpips(weights).measure(samples(predicted, true))).all()


def test_torch_file_may_have_its_own_linear_layers(weights, state, tmp_path):
    predicted, true = pictures()
    linear = {f"lin{n}.model.1.weight": torch.ones(1, c, 1, 1) for n, c in enumerate((64, 192, 384, 256, 256))}
    torch.save(state | linear, tmp_path / "own.pth")
    own, carried = (lpips(path).measure(samples(predicted, true)) for path in (tmp_path / "own.pth", weights))
    assert not np.allclose(own, carried)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_missing_or_wrong_weights_are_one_line(tmp_path):
    with pytest.raises(VsrError, match=r"lpips: no weights are named; .*metrics\.lpips\.weights=FILE"):
        build(LpipsOptions())
    save_file({"features.0.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"features.0.weight": Evil()}, protocol=2))
    for name in ("absent.pth", "other.safetensors", "broken.safetensors", "evil.pth"):
        with pytest.raises(VsrError, match=rf"{name}.*metrics\.lpips\.weights=FILE"):
            lpips(tmp_path / name)
