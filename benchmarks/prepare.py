"""Memory and speed of `vsr prepare` by number of stories, next to a plain loop over the same images.

Run as `python benchmarks/prepare.py`. The stories are those of storyworld, with images of StoryReasoning's size,
generated once and read from memory repeatedly under new names, so that generating them is not measured. Each number of
stories has a process of its own, because of its peak memory. The baseline opens and resizes each image with Pillow on
one core, as a data loader does in every epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

GENERATED = 64
"""Number of generated stories; each is read under as many names as needed, with different image bytes."""
WIDTH, HEIGHT = 480, 208


class RepeatedStories:
    """Many stories made from a few: each copy has other texts and image bytes, so none is deduplicated."""

    def __init__(self, count: int) -> None:
        from vsr_plugins.datasets import StoryWorldOptions
        from vsr_plugins.datasets.storyworld.reader import build

        self.count = count
        self.stories = list(build(StoryWorldOptions(stories=GENERATED, width=WIDTH, height=HEIGHT)).read(None))

    def read(self, source: str | None) -> Iterator[Any]:
        for number in range(self.count):
            story = self.stories[number % GENERATED]
            mark = number.to_bytes(4, "big")
            frames = tuple(
                # A JPEG comment, right after the two bytes of the start: another file, the same image.
                replace(
                    frame,
                    image=frame.image[:2] + b"\xff\xfe\x00\x06" + mark + frame.image[2:],
                    text=f"{number}. {frame.text}",
                )
                for frame in story.frames
            )
            yield replace(story, id=f"story-{number:06d}", frames=frames)

    def describe(self, source: str | None) -> dict[str, str]:
        return {"source": "repeated"}


def prepare(count: int, size: int) -> dict[str, float]:
    """Prepare so many stories in this process, once afresh and once again."""
    from vsr_cli.config.experiment import resolve_prepare
    from vsr_cli.config.resolve import Layer
    from vsr_cli.data.preparation.prepare import prepare_stories
    from vsr_cli.plugin.discovery import registry

    chosen = {
        "dataset": {"name": "storyworld"},
        "visual": {"name": "tiny-cnn"},
        "text": {"name": "tiny-text"},
        "data": {"image_size": size, "window": "sliding"},
    }
    config = resolve_prepare(registry(), preset="tiny", layers=[Layer("benchmark", chosen)])
    stories = RepeatedStories(count)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        prepared, _ = prepare_stories(config, stories, None, Path(folder) / "out")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        prepare_stories(config, stories, None, Path(folder) / "out")
        again = time.perf_counter() - started
        assert prepared is not None
        frames = prepared.manifest["counts"]["frames"]
        size_on_disk = sum(prepared.manifest["bytes"].values())
    return {"seconds": seconds, "again": again, "peak_mib": peak, "frames": frames, "bytes": size_on_disk}


def plain_loop(count: int, size: int) -> dict[str, float]:
    """Open and resize each image of so many stories, one after the other."""
    import numpy as np
    from PIL import Image

    stories = RepeatedStories(count)
    frames = 0
    started = time.perf_counter()
    for story in stories.read(None):
        for frame in story.frames:
            with Image.open(io.BytesIO(frame.image)) as image:
                np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
            frames += 1
    return {"seconds": time.perf_counter() - started, "frames": frames}


def in_a_process(what: str, count: int, size: int) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    ran = subprocess.run(
        [sys.executable, __file__, "--one", what, "--stories", str(count), "--size", str(size)],
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(ran.stdout)
    return measured


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stories", type=int, nargs="+", default=[200, 2_000, 20_000])
    arguments.add_argument("--size", type=int, default=64, help="of a prepared image, in pixels")
    arguments.add_argument("--baseline-stories", type=int, default=400, help="how many the plain loop reads")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=["prepare", "plain"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        measured = (prepare if given.one == "prepare" else plain_loop)(given.stories[0], given.size)
        print(json.dumps(measured))
        return
    plain = in_a_process("plain", given.baseline_stories, given.size)
    rate = given.baseline_stories / plain["seconds"]
    rows = []
    for count in given.stories:
        measured = in_a_process("prepare", count, given.size)
        rows.append({"stories": count, **measured, "rate": count / measured["seconds"]})
    least = min(row["peak_mib"] for row in rows)
    if given.json:
        print(json.dumps({"plain_rate": rate, "rows": rows}))
        return
    table = Table(title=f"vsr prepare, {given.size} pixels; a plain loop on one core: {rate:.0f} stories/s")
    for name in (
        "stories",
        "frames",
        "seconds",
        "stories/s",
        "over the plain loop",
        "again, s",
        "peak MiB",
        "over the least",
        "MiB on disk",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"{row['stories']:,}",
            f"{row['frames']:,}",
            f"{row['seconds']:.1f}",
            f"{row['rate']:.0f}",
            f"{row['rate'] / rate:.2f}x",
            f"{row['again']:.1f}",
            f"{row['peak_mib']:.0f}",
            f"+{100 * (row['peak_mib'] / least - 1):.0f} %",
            f"{row['bytes'] / 2**20:.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
