"""Kills `prepare` at random moments, and tests that the next one writes the same bytes. Arguments: FOLDER TIMES.

It imports everything once and forks: a child that is killed has nothing but the preparing to do.
"""

import io
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from vsr_cli.api import Frame, Story
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.data.prepared import open_prepared
from vsr_cli.plugin.discovery import registry

CHOSEN = {"dataset": {"name": "storyworld"}, "visual": {"name": "tiny-cnn"}, "text": {"name": "tiny-text"}}


class MemoryDataset:
    def __init__(self, count):
        noise = np.random.default_rng(0)
        self.stories = []
        for number in range(count):
            frames = []
            for index in range(6):
                pixels = noise.integers(0, 256, (90, 160, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(buffer := io.BytesIO(), "JPEG")
                frames.append(Frame(image=buffer.getvalue(), text=f"Story {number}, frame {index}."))
            self.stories.append(Story(id=f"story {number}", frames=tuple(frames)))

    def read(self, source):
        yield from self.stories

    def describe(self, source):
        return {"source": "memory"}


def prepare(dataset, out, window):
    layers = [Layer("test", CHOSEN | {"data": {"image_size": 96, "window": window}})]
    return prepare_stories(resolve_prepare(registry(), preset="tiny", layers=layers), dataset, None, out)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def killed(dataset, out, window, after):
    """Begin to prepare in a child and kill it after so many seconds. Return whether it was still at work."""
    child = os.fork()
    if child == 0:
        prepare(dataset, out, window)
        os._exit(0)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main():
    folder, times = Path(sys.argv[1]), int(sys.argv[2])
    dataset, older = MemoryDataset(60), MemoryDataset(10)
    registry()
    prepare(dataset, folder / "whole", "sliding")  # and imports what is imported late
    whole = contents(folder / "whole")
    started = time.perf_counter()
    prepare(dataset, folder / "again", "sliding")
    seconds = time.perf_counter() - started
    moment = random.Random(0)
    at_work = unfinished = 0
    for number in range(times):
        out = folder / f"out {number}"
        over_older_data = number % 3 == 0
        if over_older_data:
            prepare(older, out, "first")
        for _ in range(1 + number % 2):
            at_work += killed(dataset, out, "sliding", moment.uniform(0, seconds))
        unfinished += not list(out.glob("tables-*"))
        if over_older_data:
            found = open_prepared(out)
            windows = found.windows("train")
            assert len(found.frames.images.gather(windows.image_rows[:, 0])) == len(windows) > 0
            del found, windows  # what a reader has opened, `prepare` leaves alone
        prepare(dataset, out, "sliding")
        assert contents(out) == whole, f"kill {number} left a trace"
        shutil.rmtree(out)
    print(f"killed {at_work} times at work, {unfinished} of {times} folders had no tables yet")
    assert at_work > times / 2, "most kills came too late"


main()
