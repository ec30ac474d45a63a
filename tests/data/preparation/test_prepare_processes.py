"""`prepare` in several processes, and killed at random moments."""

import os
import subprocess
from pathlib import Path

import pytest

from ...folders import contents
from ...warm_python import torchrun, warm_python

SMALL = ("--set", "dataset.width=96", "--set", "dataset.height=48")


@pytest.mark.slow
def test_killed_prepare_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_prepare.py")
    ended = subprocess.run([*warm_python(), program, tmp_path, "30"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("killed ")


@pytest.mark.slow
def test_launched_processes_prepare_the_same_bytes(tmp_path: Path) -> None:
    line = ["-m", "vsr_cli", "prepare", "--preset", "tiny", "--set", "dataset.stories=12", *SMALL, "--json"]
    environment = {**os.environ, "VSR_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for started, out in ((torchrun(), "together"), (warm_python(), "alone")):
        ended = subprocess.run(
            [*started, *line, "--out", str(tmp_path / out)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count('"fingerprint"') == 1  # one process of the two writes the answer
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
