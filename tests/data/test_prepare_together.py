"""Several processes under a launcher prepare one folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_processes_of_a_launcher_leave_what_one_alone_leaves(tmp_path: Path) -> None:
    line = ["-m", "vsr_cli", "prepare", "--preset", "tiny", "--set", "dataset.stories=40", "--json"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "VSR_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for started, out in ((launcher, "together"), ([sys.executable], "alone")):
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
