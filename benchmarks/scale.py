"""Time, memory and disk of `vsr prepare`, `train`, `evaluate` and `report` by number of stories.

    python benchmarks/scale.py --quick                        # under two minutes
    python benchmarks/scale.py                                # StoryReasoning's size, 4,178 stories of 575x240
    python benchmarks/scale.py --stories 41780                # ten times that
    python benchmarks/scale.py --stories 2000 40000 --size 64x64 --encoders tiny --window first    # how memory grows

The stories are storyworld's, in StoryReasoning's parquet schema and lengths: each tells two of its stories side by
side, the left half of one's drawings beside the right half of the other's, so that a few drawings make as many distinct
images as are wanted. Each command is a process of its own. Its memory is the *anonymous* one (RssAnon of Linux): what
it holds, without the pages of memory-mapped files, which the system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from commands import run_vsr
from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).parents[1]))  # the schema and the tables are those of the tests

STORIES, FRAMES = 4_178, 52_016
"""StoryReasoning's."""
LENGTHS = range(5, 23)
ROW_GROUP = 100
"""Stories in a row group of parquet, as the hub's libraries write images."""
TEST_SHARE = 626 / STORIES
COMMANDS = ("prepare", "train", "evaluate", "report")
ENCODERS = {
    "tiny": ["--preset", "tiny"],
    "mobilenet": ["--preset", "tiny", "--visual", "mobilenet_v2", "--set", "visual.weights=random"],
}
"""Small encoders: `tiny` learns from pixels, so nothing is cached; `mobilenet` is frozen, at the data's 64 pixels."""
PAUSE = 0.02
"""Seconds between two looks at a process."""


def lengths(stories: int) -> list[int]:
    """Return the number of frames of each story, with StoryReasoning's range and mean."""
    chance = random.Random(0)
    return [round(chance.triangular(min(LENGTHS), max(LENGTHS), 3 * FRAMES / STORIES - 27)) for _ in range(stories)]


def rows(stories: int, width: int, height: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of so many stories, each with other images and texts than all others."""
    import numpy as np
    from PIL import Image

    from tests.plugins.datasets.story_reasoning.tables import Page, chain_of_thought
    from vsr_cli.api import Frame, Story
    from vsr_cli.data.preparation.story_encoding import marked_up
    from vsr_plugins.datasets.storyworld.drawing import Illustrator
    from vsr_plugins.datasets.storyworld.narration import frame_text
    from vsr_plugins.datasets.storyworld.world import draw_world, scene_at

    illustrator = Illustrator(width=width, height=height)
    worlds: list[list[tuple[Page, Image.Image]]] = []

    def world(index: int) -> list[tuple[Page, Image.Image]]:
        while index >= len(worlds):
            drawn, pages = draw_world(0, len(worlds)), []
            for t in range(len(drawn)):
                scene = scene_at(drawn, t)
                page = Page(scene=scene, text=frame_text(drawn, t), picture=illustrator.draw(scene, sway=drawn.sway[t]))
                pages.append((page, Image.open(io.BytesIO(page.picture.jpeg))))
            worlds.append(pages)
        return worlds[index]

    def joined(left: Image.Image, right: Image.Image) -> bytes:
        pixels = np.array(left.convert("RGB"))
        pixels[:, width // 2 :] = np.asarray(right.convert("RGB"))[:, width // 2 :]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        return file.getvalue()

    pairs = (
        (one, other) for top in range(1, sys.maxsize) for low in range(top) for one, other in [(top, low), (low, top)]
    )
    for number, count in enumerate(lengths(stories)):
        frames, pages = [], []
        while len(frames) < count:
            one, other = next(pairs)
            for (page, left), (beside, right) in zip(world(one), world(other), strict=False):
                pages.append(page)
                text = f"{page.text.text} {beside.text.text}"
                frames.append(Frame(image=joined(left, right), text=text, entities=page.text.entities))
        story = marked_up(Story(id=f"{number:06d}", frames=tuple(frames[:count])))
        yield {
            "story_id": story.id,
            "images": [frame.image for frame in story.frames],
            "frame_count": count,
            "chain_of_thought": chain_of_thought(pages[:count], defects=()),
            "story": "\n\n".join(str(frame.text) for frame in story.frames),
        }


def generate(folder: Path, stories: int, width: int, height: int) -> None:
    """Write the stories as the Hub lays them out; the last ones are the test split."""
    from itertools import islice

    from tests.plugins.datasets.story_reasoning.rows import write_rows

    every = rows(stories, width, height)
    train = stories - max(1, round(stories * TEST_SHARE))
    write_rows(folder / "data" / "train-00000-of-00001.parquet", islice(every, train), row_group=ROW_GROUP)
    write_rows(folder / "data" / "test-00000-of-00001.parquet", every, row_group=ROW_GROUP)


def measured(words: list[str], cache: Path) -> dict[str, float]:
    """Run a command of vsr; return what it cost, with the peaks of its anonymous and its mapped memory in MiB."""
    peaks = {"anonymous_mib": 0.0, "mapped_mib": 0.0}
    return run_vsr(words, cache, watch=partial(watch, peaks=peaks)) | peaks


def watch(process: int, peaks: dict[str, float]) -> None:
    """Record the peaks of the anonymous and the mapped memory of a process until it ends."""
    names = {"RssAnon": "anonymous_mib", "RssFile": "mapped_mib"}
    while True:
        try:
            lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        facts = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        if facts.get("State", "Z").startswith("Z"):
            return
        for name, key in names.items():
            peaks[key] = max(peaks[key], int(facts.get(name, "0").split()[0]) / 1024)
        time.sleep(PAUSE)


def disk_mib(folder: Path) -> float:
    """Return the size of the files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 2**20


def measure(given: argparse.Namespace, stories: int, folder: Path) -> dict[str, Any]:
    """Generate so many stories and run the four commands on them."""
    source, data, run, cache = (folder / name for name in ("source", "data", "run", "cache"))
    size = [str(side) for side in given.size]
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, __file__, "--generate", str(source), "--stories", str(stories), "--size", "x".join(size)],
        check=True,
    )
    generated = time.perf_counter() - started
    encoders = ENCODERS[given.encoders]
    work = {
        "prepare": [
            "prepare",
            str(source),
            "--dataset",
            "story-reasoning",
            *encoders,
            "--limit",
            "0",
            "--set",
            f"data.window={given.window}",
            "--out",
            str(data),
        ],
        "train": ["train", *encoders, "--data", str(data), "--epochs", "1", "--out", str(run)],
        "evaluate": ["evaluate", "--run", str(run)],
        "report": ["report", str(run)],
    }
    rows = {name: measured(words, cache) for name, words in work.items()}
    counts = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["counts"]
    folders = {"source": source, "prepared": data, "cache": cache, "run": run}
    return {
        "stories": stories,
        "frames": counts["frames"],
        "windows": sum(counts["windows_kept"].values()),
        "images": counts["images"],
        "generate_seconds": generated,
        "disk_mib": {name: disk_mib(path) for name, path in folders.items()},
        "commands": rows,
    }


def show(results: list[dict[str, Any]]) -> None:
    """Print the results as a table: a row for each command and number of stories."""
    table = Table()
    for name in ("stories", "command", "s", "CPU, s", "anonymous, MiB", "growth", "mapped, MiB"):
        table.add_column(name, justify="left" if name == "command" else "right")
    for name in COMMANDS:
        least = min(result["commands"][name]["anonymous_mib"] for result in results)
        for result in results:
            row = result["commands"][name]
            table.add_row(
                f"{result['stories']:,}",
                name,
                f"{row['seconds']:.0f}",
                f"{row['processor_seconds']:.0f}",
                f"{row['anonymous_mib']:.0f}",
                f"+{100 * (row['anonymous_mib'] / least - 1):.0f} %",
                f"{row['mapped_mib']:.0f}",
            )
    console = Console()
    console.print(table)
    for result in results:
        disk = ", ".join(f"{name} {size:.0f}" for name, size in result["disk_mib"].items())
        counts = f"{result['frames']:,} frames, {result['windows']:,} windows"
        console.print(f"{result['stories']:,} stories: {counts}; disk, MiB: {disk}", soft_wrap=True)


def pixels(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument(
        "--stories", type=int, nargs="+", metavar="N", help=f"default: {STORIES}; with --quick 40 160"
    )
    arguments.add_argument("--size", type=pixels, metavar="WxH", help="of the source's images; default: 575x240")
    arguments.add_argument("--window", default="sliding", choices=("sliding", "first"), help="default: sliding")
    arguments.add_argument("--encoders", choices=ENCODERS, help="default: mobilenet; with --quick tiny")
    arguments.add_argument("--quick", action="store_true", help="40 and 160 stories of 64x64, under two minutes")
    arguments.add_argument("--folder", type=Path, help="where the files are made, a new folder in it; default: TMPDIR")
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--generate", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    given.stories = given.stories or ([40, 160] if given.quick else [STORIES])
    given.encoders = given.encoders or ("tiny" if given.quick else "mobilenet")
    given.size = given.size or ((64, 64) if given.quick else (575, 240))
    if given.generate:
        generate(given.generate, given.stories[0], *given.size)
        return
    results = []
    for stories in given.stories:
        with tempfile.TemporaryDirectory(dir=given.folder) as folder:
            results.append(measure(given, stories, Path(folder)))
        if given.json:
            print(json.dumps(results[-1]), flush=True)
    if not given.json:
        show(results)


if __name__ == "__main__":
    main()
