"""How `vsr prepare` grows: memory and speed at several numbers of stories, beside a plain loop over the same pictures.

Run as `python benchmarks/prepare.py`. The stories are storyworld's, in StoryReasoning's size of picture, drawn once and
read from memory again and again under new names, so that what is measured is preparing and not drawing. Each count runs
in a process of its own, whose peak memory is its own. The rival opens each picture with Pillow and resizes it, on one
core, and keeps nothing: what a data loader does again in every epoch.
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

TALES = 64
"""Stories that are drawn; each is told under as many names as are needed, with a picture of its own in each."""
WIDTH, HEIGHT = 480, 208


class Retold:
    """So many stories, made of a few: each copy has other texts and other bytes of pictures, so none is found again."""

    def __init__(self, count: int) -> None:
        from vsr_plugins.datasets.storyworld import StoryWorldOptions
        from vsr_plugins.datasets.storyworld.reader import build

        self.count = count
        self.tales = list(build(StoryWorldOptions(stories=TALES, width=WIDTH, height=HEIGHT)).read(None))

    def read(self, source: str | None) -> Iterator[Any]:
        for number in range(self.count):
            tale = self.tales[number % TALES]
            mark = number.to_bytes(4, "big")
            frames = tuple(
                # A JPEG comment, right after the two bytes of the start: another file, the same picture.
                replace(
                    frame,
                    image=frame.image[:2] + b"\xff\xfe\x00\x06" + mark + frame.image[2:],
                    text=f"{number}. {frame.text}",
                )
                for frame in tale.frames
            )
            yield replace(tale, id=f"tale-{number:06d}", frames=frames)

    def describe(self, source: str | None) -> dict[str, str]:
        return {"source": "retold"}


def prepare(count: int, size: int) -> dict[str, float]:
    """Prepare so many stories in this process, once afresh and once again."""
    from vsr_cli.config.experiment import resolve_prepare
    from vsr_cli.config.resolve import Layer
    from vsr_cli.data.prepare import prepare_stories
    from vsr_cli.plugin.discovery import registry

    chosen = {
        "dataset": {"name": "storyworld"},
        "visual": {"name": "tiny-cnn"},
        "text": {"name": "tiny-text"},
        "data": {"image_size": size, "window": "sliding"},
    }
    config = resolve_prepare(registry(), preset="tiny", layers=[Layer("benchmark", chosen)])
    told = Retold(count)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        prepared, _ = prepare_stories(config, told, None, Path(folder) / "out")
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        started = time.perf_counter()
        prepare_stories(config, told, None, Path(folder) / "out")
        again = time.perf_counter() - started
        assert prepared is not None
        frames = prepared.manifest["counts"]["frames"]
        size_on_disk = sum(prepared.manifest["bytes"].values())
    return {"seconds": seconds, "again": again, "peak_mib": peak, "frames": frames, "bytes": size_on_disk}


def plain_loop(count: int, size: int) -> dict[str, float]:
    """Open and resize each picture of so many stories, one after the other."""
    import numpy as np
    from PIL import Image

    told = Retold(count)
    frames = 0
    started = time.perf_counter()
    for story in told.read(None):
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
    arguments.add_argument("--size", type=int, default=64, help="of a prepared picture, in pixels")
    arguments.add_argument("--rival-stories", type=int, default=400, help="how many the plain loop reads")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=["prepare", "plain"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        measured = (prepare if given.one == "prepare" else plain_loop)(given.stories[0], given.size)
        print(json.dumps(measured))
        return
    plain = in_a_process("plain", given.rival_stories, given.size)
    rate = given.rival_stories / plain["seconds"]
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
