"""Runs `vsr` as a process of a launcher and records the losses of each step. Run by test_distributed.py."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from vsr_cli.cli.main import main
from vsr_cli.report.epochs import TrainingDisplay

shown = TrainingDisplay.step


def step(self, epoch, step, losses, **more):
    """Record the losses of a step, then die, hang or display them."""
    with Path(f"steps-{os.environ.get('RANK', '0')}.jsonl").open("a") as lines:
        lines.write(json.dumps({"epoch": epoch, "step": step, **losses}) + "\n")
    if os.environ.get("DIE_AT") == f"process {os.environ.get('RANK')}, epoch {epoch}, step {step}":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("HANG_AT") == f"process {os.environ.get('RANK')}, epoch {epoch}, step {step}":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the launcher ends it when the others have
        time.sleep(600)
    shown(self, epoch, step, losses, **more)


TrainingDisplay.step = step
sys.argv[0] = "vsr"
main()
