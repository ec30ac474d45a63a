"""A `prepare` that is killed, thirty times, at random moments."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_killed_prepare_is_completed_to_the_same_bytes(tmp_path: Path) -> None:
    program = Path(__file__).with_name("kill_prepare.py")
    ended = subprocess.run([sys.executable, program, tmp_path, "30"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("killed ")
