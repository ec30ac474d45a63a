"""Commands in a process of their own: signals and system limits."""

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..warm_python import warm_python

OFFLINE = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}


def listen_to_ctrl_c() -> None:
    """Undo what a shell does to the processes it starts in the background: they are deaf to SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(words: list[str], folder: Path, **options: object) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [*warm_python(), "-m", "vsr_cli", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **OFFLINE},
        **{"preexec_fn": listen_to_ctrl_c, **options},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_while_training_keeps_finished_epochs(workspace, tmp_path, number, code):
    """The run is marked, its last weights load, and `predict` and `evaluate` take it when it is named."""
    run = tmp_path / "run"
    process = start(["train", "--epochs", "100000", "--set", "model.width=32", "--out", str(run)], workspace)
    try:
        for _ in range(1200):
            if (run / "checkpoints/last/epoch.json").is_file() or process.poll() is not None:
                break
            time.sleep(0.1)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, err
    assert not out
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]
    assert f"resume with: vsr train --resume {run}" in err.splitlines()[-1]
    assert json.loads((run / "run.json").read_text())["status"] == "interrupted"
    epochs = [json.loads(line)["epoch"] for line in (run / "history.jsonl").read_text().splitlines()]
    assert epochs == list(range(1, len(epochs) + 1))
    assert not [path for path in run.rglob(".*") if path.is_file()]
    score = start(["evaluate", "--run", str(run), "--metrics", "bleu", "--json"], workspace)
    out, err = score.communicate(timeout=120)
    assert score.returncode == 0, err
    assert json.loads(out)["run"] == str(run)


def limit_files_to(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
@pytest.mark.parametrize("size", [2_000, 40_000])
def test_full_disk_while_preparing_is_one_line_and_writes_nothing(tmp_path, size):
    """A limit on the size of files stands for a full disk: the system refuses the write in the same way."""
    words = ["prepare", "--set", "dataset.stories=14", "--set", "data.image_size=32"]
    process = start(words, tmp_path, preexec_fn=lambda: limit_files_to(size))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert not out
    assert "Traceback" not in err
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "free some space" in error
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
