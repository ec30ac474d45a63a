"""Encoding by `vsr prepare` next to plain loops and the arithmetic limit; memory and speed by number of stories.

    python benchmarks/prepare.py            # some minutes
    python benchmarks/prepare.py --quick    # less than two minutes of processor time

First, images by ResNet-50 and MobileNetV2 and texts by DistilBERT (`encoding.py`): milliseconds per image or text, next
to the limit (the floating-point operations of one, divided by the rate of large matrix products in the same run) and to
torchvision's and transformers' plain loops, whose features must be the same. Seconds are processor seconds.

Second, the preparation of many stories. They are those of storyworld, with images of StoryReasoning's size, generated
once and read from memory repeatedly under new names, so that generating them is not measured. Each number of stories
has a process of its own, because of its peak memory. The baseline opens and resizes each image with Pillow on one core,
as a data loader does in every epoch.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
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


NETWORKS = {"resnet50": 1, "mobilenet_v2": 2, "distilbert": 2}
"""The networks of the first table, and how many times the images or texts of ResNet-50 they encode."""


def encode_in_a_process(network: str, given: argparse.Namespace) -> dict[str, Any]:
    """Measure one network in a process of its own, with an empty cache."""
    words = ["--network", network, "--stories", str(given.encoded_stories * NETWORKS[network])]
    words += ["--threads", str(given.threads)]
    if network == "mobilenet_v2" and given.mobilenet_weights:
        words += ["--weights", str(given.mobilenet_weights)]
    with tempfile.TemporaryDirectory() as cache:
        ran = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("encoding.py")), *words],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "VSR_CACHE": cache, "OMP_NUM_THREADS": str(given.threads)},
        )
    if ran.returncode:
        raise SystemExit(ran.stderr)
    measured: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def show_encoding(rows: list[dict[str, Any]]) -> None:
    """Print the table of the encoding."""
    table = Table(title="Processor milliseconds per image or text; x: times the limit", box=SIMPLE)
    for name in ("", "limit", "vsr", "x", "loop", "x", "vsr, all", "loop, all", "times"):
        table.add_column(name, justify="right" if name else "left", no_wrap=not name)
    for row in rows:
        table.add_row(
            row["network"],
            f"{row['limit_ms']:.1f}",
            f"{row['ms']:.1f}",
            f"{row['times_the_limit']:.2f}",
            f"{row['rival_model_ms']:.1f}",
            f"{row['rival_times_the_limit']:.2f}",
            f"{row['reading_ms'] + row['ms']:.1f}",
            f"{row['rival_ms']:.1f}",
            f"{row['times_faster']:.2f}",
        )
    Console().print(table)
    rate = max(row["gflops_per_second"] for row in rows)
    apart = max(row["apart"] for row in rows)
    Console().print(f"Matrix products: {rate:.0f} GFLOP per processor second. Features differ by {apart:.0e} at most.")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true")
    arguments.add_argument("--encoded-stories", type=int, default=16, help="of five images, that ResNet-50 encodes")
    arguments.add_argument("--threads", type=int, default=1, help="of the encoding")
    arguments.add_argument("--mobilenet-weights", type=Path, help="a file; default: random weights")
    arguments.add_argument("--stories", type=int, nargs="*", default=[200, 2_000, 20_000])
    arguments.add_argument("--size", type=int, default=64, help="of a prepared image, in pixels")
    arguments.add_argument("--baseline-stories", type=int, default=400, help="how many the plain loop reads")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=["prepare", "plain"], help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        measured = (prepare if given.one == "prepare" else plain_loop)(given.stories[0], given.size)
        print(json.dumps(measured))
        return
    if given.quick:
        given.encoded_stories, given.stories, given.baseline_stories = 13, [60], 60  # 65 images: enough to fold
    encoded = [encode_in_a_process(network, given) for network in NETWORKS]
    if not given.json:
        show_encoding(encoded)
    if not given.stories:
        if given.json:
            print(json.dumps({"encoding": encoded}))
        return
    plain = in_a_process("plain", given.baseline_stories, given.size)
    rate = given.baseline_stories / plain["seconds"]
    rows = []
    for count in given.stories:
        measured = in_a_process("prepare", count, given.size)
        rows.append({"stories": count, **measured, "rate": count / measured["seconds"]})
    least = min(row["peak_mib"] for row in rows)
    if given.json:
        print(json.dumps({"encoding": encoded, "plain_rate": rate, "rows": rows}))
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
