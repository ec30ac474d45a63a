"""Training in one process and in two, on one machine and on two hosts: speed, and equality of the losses.

    one         a single process with batches of 2 b: the work of a step
    half        a single process with batches of b: what each of two processes has to do
    two         two processes with batches of b, by torchrun: DistributedDataParallel over gloo
    two hosts   the same in two network namespaces that a virtual cable joins, where the machine allows them (root)

    python benchmarks/processes.py             # on two idle cores, some minutes
    python benchmarks/processes.py --quick     # under two minutes

Each process has one thread. Turns alternate, and the best epoch of each way counts. "one" and "two" take the same
steps: losses that differ by more than 1e-3 are a failure, exit code 1. What the processes cost is the time of a step of
"two" beyond that of "half". On a busy machine only the equality means something.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TOLERANCE = 1e-3
"""Relative, of the losses of an epoch: sums are made in another order."""
HOSTS, NETWORK, PORT = ("vsr-host-0", "vsr-host-1"), "10.77.0", 29_517
PRESETS = {
    "tiny": ["text_decoder.name=gru"],
    "reference": ["visual.weights=random", "text.weights=random", "text.frozen_layers=all"],
}
"""Settings beside the preset's own: without dropout, whose masks differ between processes."""


def train_words(given: argparse.Namespace, run: Path, batch: int) -> list[str]:
    """Return the words of the command that trains with this batch size."""
    settings = [*PRESETS[given.preset], f"training.epochs={given.epochs}", "training.device=cpu"]
    # A small rate: Adam divides by the gradient's own size, which enlarges differences of rounding.
    settings += ["training.learning_rate=0.0005", f"training.batch_size={batch}", "training.precision=fp32"]
    if given.preset == "reference":
        settings.append(f"text.tokenizer={given.folder / 'tokenizer.json'}")
    words = ["-m", "vsr_cli", "train", "--preset", given.preset, "--data", str(given.folder / "data")]
    return [*words, "--out", str(run), *(word for each in settings for word in ("--set", each))]


def run_command(words: list[str], folder: Path) -> None:
    """Run a command to its end. Raises SystemExit with its errors if it fails."""
    ran = subprocess.run(words, capture_output=True, text=True, check=False, env=environment(folder))
    if ran.returncode:
        raise SystemExit(f"{' '.join(words)}\n{ran.stderr}")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the environment of a process: one thread, and a cache of its own."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "VSR_CACHE": str(folder / "cache"), **more}


def launcher(*words: str) -> list[str]:
    """Return torchrun for one process or more."""
    return [sys.executable, "-m", "torch.distributed.run", *words]


@contextmanager
def two_hosts() -> Iterator[bool]:
    """Join two network namespaces by a virtual cable; yield whether the machine allows it."""
    created = shutil.which("ip") is not None and all(_ip("netns", "add", host) for host in HOSTS)
    try:
        created = created and _ip("link", "add", "vsr-0", "netns", HOSTS[0], "type", "veth", "peer", "name", "vsr-1",
                                  "netns", HOSTS[1])  # fmt: skip
        for number, host in enumerate(HOSTS):
            inside = ["netns", "exec", host, "ip"]
            created = created and _ip(*inside, "addr", "add", f"{NETWORK}.{number + 1}/24", "dev", f"vsr-{number}")
            created = created and all(_ip(*inside, "link", "set", device, "up") for device in ("lo", f"vsr-{number}"))
        yield created
    finally:
        if shutil.which("ip") is not None:
            for host in HOSTS:
                _ip("netns", "del", host)


def _ip(*words: str) -> bool:
    return subprocess.run(["ip", *words], capture_output=True, check=False).returncode == 0


def on_two_hosts(given: argparse.Namespace, run: Path) -> None:
    """Train with one process on each of the two hosts. Raises SystemExit if one fails."""
    common = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", f"{NETWORK}.1", "--master-port", str(PORT)]
    running = []
    for number, host in enumerate(HOSTS):
        words = [*launcher(*common, "--node-rank", str(number)), *train_words(given, run, given.batch_size)]
        running.append(
            subprocess.Popen(
                ["ip", "netns", "exec", host, *words],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(given.folder, GLOO_SOCKET_IFNAME=f"vsr-{number}"),
            )
        )
    errors = [process.communicate()[1] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit("\n".join(errors))


def measure(given: argparse.Namespace, way: str) -> dict[str, Any]:
    """Train in this way; return windows per second of the best epoch, its step, and the losses of all."""
    run, batch = given.folder / f"run-{time.time_ns()}", given.batch_size
    if way == "two hosts":
        on_two_hosts(given, run)
    elif way == "two":
        words = [*launcher("--standalone", "--nproc-per-node", "2"), *train_words(given, run, batch)]
        run_command(words, given.folder)
    else:
        batch = 2 * batch if way == "one" else batch
        run_command([sys.executable, *train_words(given, run, batch)], given.folder)
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    best = max(rows[1:] or rows, key=lambda row: row["windows_per_second"])
    steps = best["steps"] / best["epoch"]
    losses = [row[split]["loss"] for row in rows for split in ("train", "validation")]
    shutil.rmtree(run)
    return {"rate": best["windows_per_second"], "step_ms": 1000 * best["seconds"] / steps, "losses": losses}


def prepare(given: argparse.Namespace) -> None:
    """Prepare the stories, and compute the features, once for all ways."""
    settings = [f"dataset.stories={given.stories}", "data.test=0", "data.validation=0.1"]
    if given.preset == "reference":
        from wordpiece import write_tokenizer

        write_tokenizer(given.folder / "tokenizer.json", size=30_522)
        settings += [*PRESETS["reference"][:3], f"text.tokenizer={given.folder / 'tokenizer.json'}"]
    words = [sys.executable, "-m", "vsr_cli", "prepare", "--dataset", "storyworld", "--preset", given.preset]
    words += ["--out", str(given.folder / "data"), *(word for each in settings for word in ("--set", each))]
    run_command(words, given.folder)


def compare(given: argparse.Namespace) -> dict[str, Any]:
    """Measure all ways alternately. Raises SystemExit if two processes do other work than one."""
    prepare(given)
    best: dict[str, dict[str, Any]] = {}
    with two_hosts() as allowed:
        for _ in range(given.turns):
            for way in ("one", "half", "two", *(["two hosts"] if allowed else [])):
                found = measure(given, way)
                if way not in best or found["rate"] > best[way]["rate"]:
                    best[way] = found
    for way in ("two", "two hosts"):
        if way in best:
            pairs = zip(best["one"]["losses"], best[way]["losses"], strict=True)
            gap = max(abs(one - other) / abs(one) for one, other in pairs)
            best[way]["gap"] = gap
            if gap > TOLERANCE:
                raise SystemExit(f"{way}: the losses differ from those of one process by {gap:.1e}")
    return best


def show(given: argparse.Namespace, best: dict[str, Any]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"preset {given.preset}, {given.stories} stories, {os.cpu_count()} cores", width=80)
    for name in ("", "batch", "windows/s", "times one", "ms/step", "beyond half", "loss gap"):
        table.add_column(name, justify="right" if name else "left")
    for way, row in best.items():
        batch = f"2 x {given.batch_size}" if way.startswith("two") else str(given.batch_size * (1 + (way == "one")))
        beyond = f"{row['step_ms'] / best['half']['step_ms'] - 1:+.0%}" if way.startswith("two") else ""
        gap = f"{row['gap']:.0e}" if "gap" in row else ""
        times = f"{row['rate'] / best['one']['rate']:.2f}"
        table.add_row(way, batch, f"{row['rate']:.1f}", times, f"{row['step_ms']:.1f}", beyond, gap)
    console = Console(width=80)
    console.print(table)
    if "two hosts" not in best:
        console.print("two hosts: not measured, as this machine allows no network namespaces")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--preset", choices=sorted(PRESETS), default="reference")
    arguments.add_argument("--stories", type=int, default=96)
    arguments.add_argument("--batch-size", type=int, default=16, help="of each of two processes")
    arguments.add_argument("--epochs", type=int, default=3, help="the first is left out of the rate")
    arguments.add_argument("--turns", type=int, default=1)
    arguments.add_argument("--quick", action="store_true", help="24 stories, two epochs of the preset tiny")
    arguments.add_argument("--json", action="store_true")
    given = arguments.parse_args()
    if given.quick:
        given.preset, given.stories, given.batch_size, given.epochs, given.turns = "tiny", 24, 4, 2, 1
    with tempfile.TemporaryDirectory() as folder:
        given.folder = Path(folder)
        best = compare(given)
    if given.json:
        print(json.dumps(best))
    else:
        show(given, best)


if __name__ == "__main__":
    main()
