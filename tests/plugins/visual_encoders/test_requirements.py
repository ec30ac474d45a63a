"""Weight files of torchvision that are known without importing it."""

import pytest


def test_known_weight_files_equal_torchvision_s():
    from torchvision.models import get_model_weights

    from vsr_plugins.visual_encoders.requirements import DEFAULTS, SITE

    for architecture, (name, size) in DEFAULTS.items():
        published = get_model_weights(architecture).DEFAULT
        assert published.url == f"{SITE}{name}"
        assert size == pytest.approx(published.meta["_file_size"] * 2**20, rel=0.01)


def test_torch_hub_folder_is_known_without_torch(monkeypatch, tmp_path):
    import torch

    from vsr_plugins.visual_encoders.requirements import hub_folder

    for name, value in (("TORCH_HOME", str(tmp_path)), ("TORCH_HOME", None), ("XDG_CACHE_HOME", str(tmp_path / "x"))):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
        assert str(hub_folder()) == torch.hub.get_dir()
