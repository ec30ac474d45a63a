"""Kills training processes at random moments and resumes them until they finish. Run by test_resume.py.

Each process is a fork of this one, which has imported all that is slow to import and has done nothing else yet.
"""

import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path

import torch

import vsr_cli.workflows.training
from vsr_cli.data.prepared import open_prepared
from vsr_cli.plugin.discovery import registry
from vsr_cli.workflows.settings import train_config
from vsr_cli.workflows.training import resume_train, run_train

SLOW_TO_IMPORT = ("pandas", "pyarrow.compute", "torch._dynamo", "vsr_cli.training.loop", "vsr_cli.report.epochs")
COMPONENTS = (
    *("fusions.fusions", "image_decoders.deconv", "text_decoders.gru", "temporal_models.recurrent"),
    *("visual_encoders.tiny", "text_encoders.tiny"),
)


def train(data: Path, run: Path, assignments: list[str]) -> None:
    """Begin a run, or go on with it where it has begun."""
    if (run / "run.json").exists():
        resume_train(registry(), run, data=None, epochs=None)
        return
    manifest = open_prepared(data).manifest
    config = train_config(registry(), manifest=manifest, preset=None, config=None, flags={}, assignments=assignments)
    run_train(config, data, run)


def start(data: Path, run: Path, assignments: list[str]) -> int:
    """Fork a process that trains, and return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        train(data, run, assignments)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        os._exit(code)


def main() -> None:
    folder, data, kills, seed, *assignments = sys.argv[1:]
    moments = random.Random(int(seed))
    whole = Path(folder) / "whole"
    torch.set_num_threads(1)
    vsr_cli.workflows.training._draw_curves = lambda run: None  # which takes longer than the training
    for name in (*SLOW_TO_IMPORT, *(f"vsr_plugins.{component}" for component in COMPONENTS)):
        importlib.import_module(name)
    began = time.monotonic()
    if os.waitpid(start(Path(data), whole, assignments), 0)[1]:
        sys.exit("the undisturbed run failed")
    longest = time.monotonic() - began
    left, runs, writing = int(kills), 0, 0
    while left:
        run = Path(folder) / f"killed-{runs}"
        runs += 1
        finished = False
        while not finished:
            child = start(Path(data), run, assignments)
            if left:
                time.sleep(moments.uniform(0, longest / 2))
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            finished = status == 0
            if os.WIFSIGNALED(status):
                left -= 1
                writing += any((run / "checkpoints").glob(".*"))
            elif not finished:
                sys.exit(f"{run} failed")
    print(json.dumps({"runs": runs, "killed_while_writing": writing}))


if __name__ == "__main__":
    main()
