"""FID on features of a stand-in for Inception, whose weights are a download."""

import numpy as np
import pytest
import torch

from vsr_cli.api import VsrError
from vsr_plugins.metrics import FidOptions, fid

from .samples import image_sample, scores


def features(images):
    """Return each image's mean red value in the first of 2,048 features."""
    found = torch.zeros(len(images), 2048)
    found[:, 0] = images[:, 0].float().mean(dim=(1, 2))
    return found


def red(value):
    return np.full((8, 8, 3), (value, 0, 0), np.uint8)


def test_it_is_the_distance_of_the_features_distributions():
    metric = fid.Fid(features, FidOptions(weights="inception.pth"))
    samples = [image_sample(red(10 + value), red(value)) for value in (0, 4)]
    found = scores(metric, *samples)
    assert found == {"fid": pytest.approx(100), "fid-means": pytest.approx(100), "fid-covariances": pytest.approx(0)}
    constant = scores(metric, *[image_sample(red(2), red(value)) for value in (0, 4)])
    assert constant["fid"] == pytest.approx(8)  # the variance of the targets
    assert metric.measure([]).shape == (0, 4096)


def test_without_weights_the_error_says_where_to_get_them(tmp_path):
    with pytest.raises(VsrError, match=r"no weights are named; install torch-fidelity .*metrics\.fid\.weights=FILE"):
        fid.build(FidOptions())
    (tmp_path / "weights.pth").write_bytes(b"no weights")
    with pytest.raises(VsrError, match=r"weights\.pth: .*; install torch-fidelity") as error:
        fid.build(FidOptions(weights=str(tmp_path / "weights.pth")))
    assert "\n" not in str(error.value)
