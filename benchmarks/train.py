"""Training speed of `vsr` and of two plain PyTorch loops: the reference design at full size.

    (a) a plain loop: decode five images, run ResNet-50 and DistilBERT, for each story in each epoch
    (b) the same with accelerate, a DataLoader with two workers, and no_grad where frozen
    (c) `vsr prepare` and `vsr train`

(a) and (b) are in `plain_training.py`; a test checks that losses and gradients are the same. Backbones have random
weights and the libraries' configurations. The stories are those of storyworld, with images of about StoryReasoning's
size. Each measurement has a process of its own, because of its peak memory (without the DataLoader's workers in (b)).
The three alternate, so that other load affects all of them, and the best turn of each counts. The limit is the number
of floating-point operations of a step (matrix products and convolutions, forward and backward, counted by torch)
divided by the highest rate at which this machine multiplied large matrices in the same turns and precision.

    python benchmarks/train.py                                              # all of it, 15 minutes on two idle cores
    python benchmarks/train.py --turns 3 --stories 200 --baseline-stories 32   # an hour, for published figures
    python benchmarks/train.py --frozen none                                # only how cost grows with the stories

On a shared machine, only the ratios within one run are meaningful.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from commands import run_vsr
from rich.console import Console
from rich.table import Table

EPOCHS = 10
"""Number of epochs that the projection covers, with all preparation."""
IMAGE = ["dataset.width=575", "dataset.height=240"]
BASELINES = {"plain": "(a) plain loop", "loader": "(b) accelerate, DataLoader", "vsr": "(c) vsr"}
FROZEN = {"all": "all encoders frozen", "top-two": "DistilBERT's top two layers train"}


def assignments(given: argparse.Namespace, *, training: bool) -> list[str]:
    """Return the --set options: the reference preset with random backbones."""
    encoders = ["visual.weights=random", "text.weights=random", f"text.tokenizer={given.folder / 'tokenizer.json'}"]
    encoders.append(f"text.frozen_layers={'all' if given.frozen == 'all' else 4}")
    if training:
        # A checkpoint is written after each epoch, outside the time that the rate is measured in.
        return [*encoders, f"training.batch_size={given.batch_size}", f"training.epochs={given.epochs}"]
    return [*encoders, *IMAGE, f"dataset.stories={given.stories}", "data.validation=0", "data.test=0"]


def prepare(given: argparse.Namespace) -> dict[str, Any]:
    """Run (c)'s first command, with a cache that is empty; give what it left and what it cost."""
    mark = time.time_ns()
    data, cache = given.folder / f"data-{mark}", given.folder / f"cache-{mark}"
    words = ["prepare", "--dataset", "storyworld", "--preset", "reference", "--window", "first", "--out", str(data)]
    return {"data": data, "cache": cache, **run_vsr([*words, *_sets(assignments(given, training=False))], cache)}


def vsr(given: argparse.Namespace, prepared: dict[str, Any]) -> dict[str, float]:
    """(c) The commands that anyone would type; the rate is what the run's history says."""
    run = given.folder / f"run-{time.time_ns()}"
    train = ["train", "--preset", "reference", "--data", str(prepared["data"]), "--out", str(run)]
    trained = run_vsr([*train, *_sets(assignments(given, training=True))], prepared["cache"])
    rows = [json.loads(line) for line in (run / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return {
        "rate": max(row["windows_per_second"] for row in rows[1:] or rows),
        "prepare_seconds": prepared["seconds"],
        "prepare_peak_mib": prepared["peak_mib"],
        "start_seconds": trained["seconds"] - sum(row["seconds"] for row in rows),
        "peak_mib": trained["peak_mib"],
        **in_a_process("limit", given, data=prepared["data"], cache=prepared["cache"]),
    }


def _sets(chosen: list[str]) -> list[str]:
    return [word for item in chosen for word in ("--set", item)]


def limit(given: argparse.Namespace) -> dict[str, float]:
    """Count the operations of a step of vsr, and measure how fast this machine multiplies matrices."""
    import numpy as np
    import torch
    from arithmetic import operations, product_rate

    from vsr_cli.data.cache.extraction import frozen_features
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.model.building import build_model
    from vsr_cli.model.loss_means import open_split
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.training.distributed import precision_of, start
    from vsr_cli.workflows.settings import train_config

    prepared = open_prepared(given.data)
    config = train_config(
        registry(),
        manifest=prepared.manifest,
        preset="reference",
        config=None,
        flags={},
        assignments=assignments(given, training=True),
    )
    torch.manual_seed(config.training.seed)  # the random backbones whose features are cached
    model = build_model(config, image_size=prepared.image_size, training_texts=prepared.training_texts).train()
    device = torch.device("cpu")
    features = frozen_features(prepared, model.visual, model.text, device=device, options=config.features)
    split = open_split(model, prepared, "train", features, device=device)
    indices = np.arange(min(given.batch_size, len(split)))
    counted = operations(lambda: model(split.contexts.batch(indices), split.targets.batch(indices))["loss"].backward())
    half = precision_of(start(config.training)) == "bf16"
    rate = product_rate(rounds=9, clock=time.perf_counter, dtype=torch.bfloat16 if half else torch.float32)
    return {"story_flops": counted / len(indices), "matmul_rate": rate}


def grow(given: argparse.Namespace) -> dict[str, float]:
    """Prepare and train on this many stories with small images and components; return time and memory."""
    from plain_training import timed
    from prepare import RepeatedStories

    from vsr_cli.config.experiment import resolve_prepare
    from vsr_cli.config.resolve import parse_set, preset_layer
    from vsr_cli.data.preparation.prepare import prepare_stories
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.workflows.settings import train_config
    from vsr_cli.workflows.training import run_train

    layers = [preset_layer("tiny"), *parse_set(["data.window=first", "data.validation=0", "data.test=0"])]
    config = resolve_prepare(registry(), preset="tiny", layers=layers)
    data = given.folder / f"data-{given.stories}"
    seconds = timed(lambda: prepare_stories(config, RepeatedStories(given.stories), None, data))
    training = train_config(
        registry(),
        manifest=open_prepared(data).manifest,
        preset=None,
        config=None,
        flags={"training.epochs": 1},
        assignments=[],
    )
    run = run_train(training, data, given.folder / f"run-{given.stories}")
    row = json.loads(run.history.read_text().splitlines()[-1])
    measured = {"prepare_seconds": seconds, "rate": row["windows_per_second"], "epoch_seconds": row["seconds"]}
    status = Path("/proc/self/status")  # the peak has the pages of mapped files in it, which cost nobody anything
    if status.exists():
        held = dict(line.split(":", 1) for line in status.read_text(encoding="utf-8").splitlines())["RssAnon"]
        measured["held_mib"] = int(held.split()[0]) / 1024
    return measured


def in_a_process(what: str, given: argparse.Namespace, **changed: object) -> dict[str, float]:
    """Run one measurement in a process of its own, with its peak memory."""
    options = {**vars(given), **changed, "one": what}
    cache = options.pop("cache", given.folder / "cache")
    options = {name: value for name, value in options.items() if name not in ("json", "grow") and value is not None}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    ran = subprocess.run(
        [sys.executable, __file__, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "VSR_CACHE": str(cache)},
    )
    if ran.returncode:
        raise SystemExit(ran.stderr)
    measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def compare(given: argparse.Namespace, frozen: str) -> list[dict[str, Any]]:
    """Measure all alternately and return the best of each, for each batch size."""
    best: dict[int, dict[str, dict[str, float]]] = {size: {} for size in given.batch_size}
    matmul_rate = 0.0
    for _ in range(given.turns):
        prepared = prepare(_with(given, frozen=frozen))
        for size, baselines in best.items():
            # As many stories as fill whole batches, or the last one would be a smaller step than the others.
            stories = math.ceil(given.baseline_stories / size) * size
            one = _with(given, frozen=frozen, batch_size=size, baseline_stories=stories)
            for baseline in BASELINES:
                measured = vsr(one, prepared) if baseline == "vsr" else in_a_process(baseline, one)
                matmul_rate = max(matmul_rate, measured.get("matmul_rate", 0.0))
                if baseline not in baselines or measured["rate"] > baselines[baseline]["rate"]:
                    baselines[baseline] = measured
    for baselines in best.values():
        for baseline, row in baselines.items():
            row["ten_epochs_seconds"] = EPOCHS * given.stories / row["rate"]
            if baseline == "vsr":
                row["ten_epochs_seconds"] += row["prepare_seconds"] + row["start_seconds"]
                row["matmul_rate"] = matmul_rate
                row["over_the_limit"] = matmul_rate / (row["story_flops"] * row["rate"])
    return [{"frozen": frozen, "batch_size": size, "baselines": baselines} for size, baselines in best.items()]


def _with(given: argparse.Namespace, **changed: object) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(given), **changed})


def show(given: argparse.Namespace, result: dict[str, Any]) -> None:
    """Print what was measured with one freezing."""
    console = Console()
    table = Table(title=f"{FROZEN[result['frozen']]}; batch {given.batch_size}, {os.cpu_count()} cores")
    for name in ("", "stories/s", "times (a)", "times (b)", "ten epochs, s", "times (a)", "peak MiB"):
        table.add_column(name, justify="right" if name else "left")
    baselines = result["baselines"]
    for baseline, title in BASELINES.items():
        row = baselines[baseline]
        table.add_row(
            title,
            f"{row['rate']:.2f}",
            f"{row['rate'] / baselines['plain']['rate']:.1f}",
            f"{row['rate'] / baselines['loader']['rate']:.1f}",
            f"{row['ten_epochs_seconds']:.0f}",
            f"{baselines['plain']['ten_epochs_seconds'] / row['ten_epochs_seconds']:.1f}",
            f"{row['peak_mib']:.0f}",
        )
    console.print(table)
    ours = baselines["vsr"]
    console.print(
        f"vsr's step takes {ours['over_the_limit']:.2f} times the limit: {ours['story_flops'] / 1e9:.2f} GFLOP "
        f"per story at {ours['matmul_rate'] / 1e9:.0f} GFLOP/s. Ten epochs of {given.stories} stories are "
        f"projected from the steady rates; vsr's with its prepare ({ours['prepare_seconds']:.0f} s, peak "
        f"{ours['prepare_peak_mib']:.0f} MiB) and its start ({ours['start_seconds']:.0f} s), measured.\n"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stories", type=int, default=96, help="that vsr prepares and trains on")
    arguments.add_argument(
        "--baseline-stories",
        type=int,
        default=8,
        help="that (a) and (b) go through in a round, at least; a batch is filled",
    )
    arguments.add_argument("--batch-size", type=int, nargs="+", default=[2, 32])
    arguments.add_argument("--epochs", type=int, default=3, help="of vsr; the first is left out of its rate")
    arguments.add_argument("--rounds", type=int, default=1, help="of (a) and (b) in a turn; the best counts")
    arguments.add_argument("--turns", type=int, default=1)
    arguments.add_argument("--frozen", choices=[*FROZEN, "both", "none"], default="both", help="none: no baselines")
    arguments.add_argument(
        "--grow", type=int, nargs="*", default=[200, 2_000, 20_000], metavar="N", help="train on so many, in miniature"
    )
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=["plain", "loader", "limit", "grow"], help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    import plain_training

    if given.one:
        given.batch_size = given.batch_size[0]
        baselines = {"plain": plain_training.plain, "loader": plain_training.loader}
        measured = {**baselines, "limit": limit, "grow": grow}[given.one](given)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"peak_mib": peak, **measured}))
        return
    results, grown = [], []
    with tempfile.TemporaryDirectory() as folder:
        given.folder = Path(folder)
        plain_training.write_tokenizer(given.folder / "tokenizer.json")
        for frozen in FROZEN if given.frozen == "both" else [] if given.frozen == "none" else [given.frozen]:
            for result in compare(given, frozen):
                results.append(result)
                if not given.json:
                    show(given, result)
        for count in given.grow:
            row = {"stories": count, **in_a_process("grow", given, stories=count, batch_size=None)}
            grown.append(row)
            if not given.json:
                Console().print(
                    f"{count:,} stories in miniature: prepare {row['prepare_seconds']:.1f} s, "
                    f"train {row['rate']:.0f} stories/s, peak {row['peak_mib']:.0f} MiB"
                    + (f", {row['held_mib']:.0f} MiB at the end without mapped files" if "held_mib" in row else "")
                )
    if given.json:
        print(json.dumps({"results": results, "growth": grown}))


if __name__ == "__main__":
    main()
