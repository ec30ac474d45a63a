"""`vsr doctor`."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vsr_cli.cli.doctor import command
from vsr_cli.cli.doctor.machine import cpu_instructions, disk, memory
from vsr_cli.cli.doctor.software import check_package, torch_and_torchvision
from vsr_cli.plugin.discovery import discover


def test_healthy_installation_has_no_problem(vsr):
    answer = vsr("doctor --json")
    assert (answer.code, answer.err) == (0, "")
    record = json.loads(answer.out)
    assert record["ok"] is True
    found = {(each["group"], each["name"]): each for each in record["findings"]}
    assert found["versions", "torch"]["state"] == found["machine", "processor"]["state"] == "ok"
    assert found["weights of presets", "tiny"]["value"] == "none needed"
    assert found["extras", "fid"]["remedy"] in (None, "pip install 'vsr-cli[fid]'")


def test_missing_weights_are_named_with_their_options(vsr, nothing_cached):
    found = {each["name"]: each for each in json.loads(vsr("doctor --json").out)["findings"]}
    assert "resnet50-11ad3fa6.pth (103 MB)" in found["reference"]["value"]
    assert "distilbert-base-uncased (268 MB)" in found["reference"]["value"]
    assert "--set visual.weights=FILE --set text.model=FOLDER" in found["reference"]["remedy"]
    assert found["reference"]["state"] == "absent"


def test_broken_plugin_is_a_problem_and_exit_code_1(vsr, monkeypatch):
    broken = discover([EntryPoint("mine", "no_such_module", "vsr.plugins")], disabled=set())
    monkeypatch.setattr(command, "discovered", lambda: broken)
    answer = vsr("doctor --json")
    assert answer.code == 1
    record = json.loads(answer.out)
    assert record["ok"] is False
    (found,) = [each for each in record["findings"] if each["name"] == "mine"]
    assert "no_such_module" in found["value"]
    assert "VSR_DISABLE_PLUGINS=mine" in found["remedy"]
    assert "problems" in vsr("doctor").out.splitlines()[-1]


@pytest.mark.parametrize(("installed", "state"), [("2.1", "ok"), ("1.9", "problem"), (None, "problem")])
def test_package_is_installed_new_enough(installed, state):
    found = check_package(Requirement("numpy>=2.0"), installed)
    assert found.state == state
    assert (found.remedy == "pip install 'numpy>=2.0'") is (state == "problem")


@pytest.mark.parametrize(
    ("torch", "torchvision", "state"),
    [
        ("2.15.0+cpu", "0.30.0+cpu", "ok"),
        ("2.15.0+cu132", "0.30.0+cpu", "problem"),
        ("2.15.0", "0.30.0+cu132", "problem"),
        ("2.15.0", None, "problem"),
    ],
)
def test_torch_and_torchvision_are_builds_for_one_device(torch, torchvision, state):
    assert torch_and_torchvision(torch, torchvision).state == state


def test_memory_is_that_of_the_container(tmp_path: Path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n")
    assert memory(tmp_path) == (1_024_000, 512_000)
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("204800\n")
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("4800\n")
    assert memory(tmp_path) == (204_800, 200_000)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert memory(tmp_path) == (1_024_000, 512_000)


def test_instructions_are_read_from_the_flags(tmp_path: Path):
    (tmp_path / "cpuinfo").write_text("model name: x\nflags : fpu avx2 avx512f sse2\n")
    assert cpu_instructions(tmp_path / "cpuinfo") == ["AVX2", "AVX-512"]
    assert cpu_instructions(tmp_path / "absent") == []


def test_folder_that_cannot_be_written_is_a_problem(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert disk("cache", tmp_path / "new" / "folder", "VSR_CACHE").state in ("ok", "warning")
    assert disk("cache", Path("/proc/1/new"), "VSR_CACHE").state == "problem"
