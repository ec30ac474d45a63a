"""Speed, memory and equality of `vsr` on a GPU, in one command of less than ten minutes; nothing is downloaded.

    equality    losses, gradients and features in fp32, next to the CPU's: they differ by less than 1e-4
    reference   an epoch of the preset at StoryReasoning's size, in bf16 with cached features, next to a plain loop
    encoding    images per second through ResNet-50, next to torchvision's plain loop
    lm, tokens  training and sampling of the decoders
    compile     the reference step with --compile
    strong      the preset at its true size: steps, and frames that it predicts

    python benchmarks/gpu.py                        # all of it on one GPU
    python benchmarks/gpu.py --device cpu --quick   # the same in miniature, under two minutes on two idle cores

Stories and weights are random, at true sizes (`gpu_models.py`). Each section is a process of its own: one that fails
is reported, the others are measured, and the exit code is 1. A rival that does other work than `vsr` is a failure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Facts = dict[str, Any]
GOAL_EPOCH_SECONDS, GOAL_LOADING_SHARE, TOLERANCE = 20.0, 0.1, 1e-4
EXPECTED_WINDOWS = 30_000
"""The size at which the goals hold."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    windows: int = EXPECTED_WINDOWS
    batch: int = 64
    words: int = 48
    """Of a text."""
    steps: int = 200
    """Of the preset `strong`."""
    decoder_steps: int = 100
    """Of `lm` and `tokens`, and with and without the compiler."""
    epoch_steps: int | None = None
    """Of the reference epoch; None: all."""
    predicted: int = 32
    """Windows for which a text and an image are generated."""
    images: int = 4096
    seconds: int = 170
    """After which a section is ended."""
    seconds_together: int = 590
    """After which no section is measured any more."""
    small: bool = False
    """Whether the models that are at their true sizes otherwise are small."""


QUICK = Size(
    windows=64,
    batch=4,
    words=12,
    steps=2,
    decoder_steps=2,
    epoch_steps=3,
    predicted=2,
    images=32,
    seconds=600,
    seconds_together=1800,
    small=True,
)
LANGUAGE_MODELS = {
    "lm": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
           "num_key_value_heads": 3, "vocab_size": 49_152},
    "strong": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32,
               "num_key_value_heads": 32, "vocab_size": 49_152},
    "small": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
              "num_key_value_heads": 1, "vocab_size": 32_000},
}  # fmt: skip
"""SmolLM2-135M, SmolLM2-1.7B, and one for `--quick`."""


def equality(size: Size, device: Any, folder: Path) -> Facts:
    """Compare the losses, the gradient and the features of the reference preset with the CPU's; the losses of `tokens`.

    Not its gradient, which another rounding of a single code would change.
    """
    import copy

    import torch
    from gpu_training import Bench, precise

    found: Facts = {}
    tokens = ["image_decoder.name=tokens", "image_decoder.autoencoder_steps=1"]
    for name, more in (("reference", []), ("tokens", tokens)):
        bench = Bench.build("reference", more, size, torch.device("cpu"), folder)
        model = bench.model.eval()
        indices = torch.arange(min(8, size.batch)).numpy()
        with precise():
            sides = []
            for where in (torch.device("cpu"), device):
                moved = copy.deepcopy(model).to(where)
                split = bench.split(moved, where)
                losses = moved(split.contexts.batch(indices), split.targets.batch(indices))
                losses["loss"].backward()
                slopes = [each.grad.flatten().cpu() for each in moved.parameters() if each.grad is not None]
                images = bench.pixels(8, where)
                features = moved.visual.frozen(moved.visual.pixels(images)).cpu()
                values = torch.stack([loss.detach().cpu() for loss in losses.values()])
                sides.append((values, torch.cat(slopes), features))
        for what, one, other in zip(("losses", "gradient", "features"), *sides, strict=True):
            if name == "reference" or what == "losses":
                found[f"{name}: {what}"] = float((one - other).norm() / one.norm())
    worst = max(found.values())
    assert worst < TOLERANCE, f"the device's numbers differ from the CPU's by {worst:.1e}: {found}"
    return found


def reference(size: Size, device: Any, folder: Path) -> Facts:
    """Train an epoch of the reference preset, and the plain loop on the same batches."""
    import torch
    from gpu_training import Bench, plain_step_seconds

    bench = Bench.build("reference", [], size, device, folder)
    facts = bench.train(size.epoch_steps)
    facts["plain loop, ms per step"] = 1000 * plain_step_seconds(bench, size)
    facts["times the plain loop"] = facts["plain loop, ms per step"] / facts["ms per step"]
    if device.type == "cuda" and size.windows == EXPECTED_WINDOWS:
        facts[f"epoch under {GOAL_EPOCH_SECONDS:.0f} s"] = facts["seconds per epoch"] < GOAL_EPOCH_SECONDS
        facts[f"loading under {GOAL_LOADING_SHARE:.0%}"] = facts["loading, share of a step"] < GOAL_LOADING_SHARE
    assert torch.isfinite(torch.tensor(facts["loss"]))
    return facts


def encoding(size: Size, device: Any, folder: Path) -> Facts:
    """Encode prepared images as `vsr prepare` does, and by a loop over torchvision's network."""
    from gpu_training import encode

    return encode(size, device, folder)


def lm(size: Size, device: Any, folder: Path) -> Facts:
    """Train and sample the text decoder `lm` at the size of the preset `laptop`."""
    return _decoder("lm", size, device, folder)


def tokens(size: Size, device: Any, folder: Path) -> Facts:
    """Train and sample the image decoder `tokens`."""
    from gpu_training import Bench

    settings = ["image_decoder.name=tokens", f"image_decoder.autoencoder_steps={2 if size.small else 200}"]
    bench = Bench.build("reference", settings, size, device, folder, fit=True)
    return {**bench.train(size.decoder_steps), **bench.predict(size.predicted, "greedy")}


def compile(size: Size, device: Any, folder: Path) -> Facts:
    """Train the reference preset with and without torch's compiler."""
    from gpu_training import Bench

    plain = Bench.build("reference", [], size, device, folder).train(size.decoder_steps)
    compiled = Bench.build("reference", [], size, device, folder).train(size.decoder_steps, compiling=True)
    gap = abs(plain["loss"] - compiled["loss"]) / abs(plain["loss"])
    assert gap < 0.05, f"compiled, the mean loss is {compiled['loss']:.4f} and not {plain['loss']:.4f}"
    return {
        "ms per step": plain["ms per step"],
        "ms per step, compiled": compiled["ms per step"],
        "compiling, s": compiled["first step, s"] - plain["first step, s"],
        "times as fast": plain["ms per step"] / compiled["ms per step"],
    }


def strong(size: Size, device: Any, folder: Path) -> Facts:
    """Train the preset `strong` for some steps, and let it write and draw frames."""
    return _decoder("strong", size, device, folder)


def _decoder(name: str, size: Size, device: Any, folder: Path) -> Facts:
    from gpu_training import Bench, decoder_settings

    preset = "strong" if name == "strong" else "reference"
    bench = Bench.build(preset, decoder_settings(name, size, device, folder), size, device, folder)
    if name == "strong":
        return {**bench.train(size.steps), **bench.predict(size.predicted, "mbr")}
    return {**bench.train(size.decoder_steps), **bench.predict(size.predicted, "sample")}


SECTIONS: dict[str, Callable[[Size, Any, Path], Facts]] = {
    each.__name__: each for each in (equality, reference, encoding, strong, lm, tokens, compile)
}


def in_a_process(section: str, given: argparse.Namespace, size: Size, *, seconds: float) -> Facts:
    """Measure a section in a process of its own; return its facts, or what went wrong as `error`."""
    if seconds <= 0:
        return {"error": f"not measured, as the others took {size.seconds_together} s"}
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, "--one", section, "--device", given.device, "--folder", folder]
        words += ["--size", json.dumps(asdict(size))]
        started = time.perf_counter()
        try:
            ran = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"error": f"not done after {seconds:.0f} s"}
        if ran.returncode:
            print(ran.stderr[-4000:], file=sys.stderr)
            lines = ran.stderr.strip().splitlines()
            return {"error": lines[-1] if lines else f"exit code {ran.returncode}"}
        facts: Facts = json.loads(ran.stdout.splitlines()[-1])
        return {**facts, "seconds of the section": time.perf_counter() - started}


def show(section: str, facts: Facts) -> None:
    """Print a section as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=section, title_justify="left", width=80, show_header=False)
    table.add_column(ratio=1)
    table.add_column(justify="right", ratio=1)
    for name, value in facts.items():
        if isinstance(value, bool):
            shown = "yes" if value else "NO"
        elif isinstance(value, float):
            shown = f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
        else:
            shown = str(value)
        table.add_row(name, shown)
    Console().print(table)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cuda", help="cuda or cpu")
    arguments.add_argument("--quick", action="store_true", help="in miniature")
    arguments.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=list(SECTIONS), help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments.add_argument("--size", type=json.loads, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        import torch

        print(json.dumps(SECTIONS[given.one](Size(**given.size), torch.device(given.device), given.folder)))
        return
    size, results = QUICK if given.quick else Size(), {}
    started = time.monotonic()
    for section in given.only:
        left = size.seconds_together - (time.monotonic() - started)
        results[section] = in_a_process(section, given, size, seconds=min(size.seconds, left))
        if not given.json:
            show(section, results[section])
    if given.json:
        print(json.dumps({"device": given.device, "quick": given.quick, "sections": results}))
    raise SystemExit(int(any("error" in facts for facts in results.values())))


if __name__ == "__main__":
    main()
