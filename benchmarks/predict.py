"""The cost of a prediction in a program that has loaded the model.

Run as `python benchmarks/predict.py`. A model of the preset tiny, trained for one epoch on the embedded stories,
predicts the fifth frame of unseen stories from images in memory. Measured are the import of vsr_cli beyond a bare
interpreter, and in CPU time of one process with one thread loading, the first prediction, the mean of the others, a
storyboard and a step of `continue_story`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

STORIES = 20
IMPORTS = 10
"""Processes that are started for the import, the fastest of which counts."""


def cpu_seconds(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def import_seconds() -> float:
    """Return how much longer a process takes that imports vsr_cli than one that imports nothing, at best."""

    def fastest(code: str) -> float:
        times = []
        for _ in range(IMPORTS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    return fastest("import vsr_cli") - fastest("pass")


def main() -> None:
    print(f"import vsr_cli           {import_seconds() * 1000:8.1f} ms")
    import torch

    import vsr_cli as vsr

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = vsr.prepare(out=Path(folder) / "data", settings={"dataset.stories": 200})
        run = vsr.train(data, out=Path(folder) / "run", epochs=1, device="cpu").run
        stories = vsr.example_stories(STORIES)
        model: list[vsr.Model] = []
        print(f"load                     {cpu_seconds(lambda: model.append(vsr.load(run, device='cpu'))):8.3f} s")
        predict = model[0].predict
        print(f"first prediction         {cpu_seconds(lambda: predict(stories[0], from_frame=4)):8.3f} s")
        for _ in range(3):
            seconds = cpu_seconds(lambda: [predict(story, from_frame=4) for story in stories]) / STORIES
            print(f"a prediction             {seconds:8.3f} s")
        frame = predict(stories[0], from_frame=4)
        print(f"its storyboard           {cpu_seconds(frame.storyboard):8.3f} s")
        steps = cpu_seconds(lambda: model[0].continue_story(stories[0], from_frame=4, steps=10)) / 10
        print(f"a step of continue_story {steps:8.3f} s")


if __name__ == "__main__":
    main()
