import json
import subprocess
import sys

import pytest
import torch

pytestmark = pytest.mark.slow


@pytest.fixture
def gpu(load_benchmark):
    return load_benchmark("gpu")


def test_a_section_that_fails_is_reported_and_the_others_are_measured(gpu, capsys):
    words = ["--device", "nowhere", "--quick", "--only", "equality", "encoding", "--json"]
    ran = subprocess.run([sys.executable, gpu.__file__, *words], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    sections = json.loads(ran.stdout)["sections"]
    assert sections.keys() == {"equality", "encoding"}
    assert all("nowhere" in facts["error"] for facts in sections.values())
    gpu.show("equality", sections["equality"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_the_reference_preset_is_measured_beside_a_plain_loop_with_its_losses(gpu, tmp_path):
    size = gpu.Size(windows=16, batch=2, words=6, epoch_steps=2, images=2, small=True)
    facts = gpu.reference(size, torch.device("cpu"), tmp_path)
    assert facts["windows"] == 16
    assert facts["seconds per epoch"] == pytest.approx(8 * facts["ms per step"] / 1000)
    assert facts["plain loop, ms per step"] > 0


def test_other_numbers_than_the_cpus_are_a_failure(gpu, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "TOLERANCE", -1.0)
    size = gpu.Size(windows=8, batch=2, words=6, small=True)
    with pytest.raises(AssertionError, match="differ from the CPU's"):
        gpu.equality(size, torch.device("cpu"), tmp_path)
