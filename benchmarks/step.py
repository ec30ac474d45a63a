"""Where the time of a training step of the reference preset goes, and what other ways to compute its parts cost.

    python benchmarks/step.py                        # a batch of 2, the design's; about a minute
    python benchmarks/step.py --batch-size 2 32
    python benchmarks/step.py --compile              # with torch.compile, which takes a minute to compile

Milliseconds of processor time of one thread, the least of several rounds, with all encoders frozen, random backbones
and storyworld's stories. The limit of a part is the time that its matrix products and convolutions would take at the
rate at which this machine multiplies large matrices, measured in the same run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported: processor time is that of one thread

import numpy as np
import torch
from arithmetic import operations, product_rate
from plain_training import write_tokenizer
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from train import assignments, prepare

from vsr_cli.api.recurrence import run_recurrent
from vsr_cli.api.text_loss import head_cross_entropy
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.building import build_model
from vsr_cli.model.loss_means import Split, open_split
from vsr_cli.model.story_model import StoryModel
from vsr_cli.plugin.discovery import registry
from vsr_cli.training.memory import tune_allocator
from vsr_cli.training.optimizer import make_optimizer
from vsr_cli.workflows.settings import train_config


def milliseconds(work: Callable[[], object], *, rounds: int) -> float:
    """Return the least processor time of some rounds, after one that is not measured."""
    work()
    least = float("inf")
    for _ in range(rounds):
        started = time.process_time()
        work()
        least = min(least, time.process_time() - started)
    return 1000 * least


def open_reference(folder: Path, stories: int) -> tuple[StoryModel, Split, Any]:
    """Return the reference model with random backbones, one training window per story, and the training options."""
    write_tokenizer(folder / "tokenizer.json")
    given = argparse.Namespace(folder=folder, frozen="all", stories=stories, batch_size=2, epochs=1)
    prepared_data = prepare(given)
    os.environ["VSR_CACHE"] = str(prepared_data["cache"])
    prepared = open_prepared(prepared_data["data"])
    chosen = assignments(given, training=True)
    config = train_config(
        registry(), manifest=prepared.manifest, preset="reference", config=None, flags={}, assignments=chosen
    )
    torch.manual_seed(config.training.seed)  # the backbones whose features are cached
    model = build_model(config, image_size=prepared.image_size, training_texts=prepared.training_texts).train()
    device = torch.device("cpu")
    features = frozen_features(prepared, model.visual, model.text, device=device, options=config.features)
    return model, open_split(model, prepared, "train", features, device=device), config.training


class Parts:
    """A step of `size` windows and its parts, each with forward and backward passes."""

    def __init__(self, model: StoryModel, split: Split, options: Any, size: int) -> None:
        self.model = model
        self.batch = split.contexts.batch(np.arange(size)), split.targets.batch(np.arange(size))
        self.optimizer = make_optimizer(model, options)
        self.trained = [weight for weight in model.parameters() if weight.requires_grad]
        self.most = options.max_grad_norm
        with torch.no_grad():
            self.narrative = model.encode_context(self.batch[0])
        self.target = self.batch[1]
        self.ids, self.mask = self.target.ids, self.target.mask

    def losses(self) -> None:
        """Run the forward and backward passes of the whole model."""
        self.model(*self.batch)["loss"].backward()

    def head(self) -> None:
        """Run the vocabulary head on the target's real tokens."""
        head = self.model.text_decoder.head
        states = torch.zeros(int(self.mask.sum()), head.in_features, requires_grad=True)
        head_cross_entropy(states, head.weight, head.bias, self.ids[self.mask]).backward()

    def recurrence(self, run: Callable[..., tuple[Tensor, Any]] = run_recurrent) -> None:
        """Run the GRU of the text decoder."""
        network = self.model.text_decoder.recurrent
        given = torch.zeros(*self.ids.shape, network.input_size, requires_grad=True)
        outputs, _ = run(network, given)
        outputs.backward(torch.ones_like(outputs))

    def torch_recurrence(self) -> None:
        """Run the same GRU as torch does."""
        self.recurrence(lambda network, given: network(given))

    def image(self) -> None:
        """Run the image decoder."""
        decoder = self.model.image_decoder
        decoder.loss(decoder(self.narrative), self.target.image).backward()

    def update(self) -> None:
        """Clip the gradient and update the weights, with gradients as large as the weights."""
        norm = nn.utils.get_total_norm([weight.grad for weight in self.trained if weight.grad is not None])
        if float(norm) > self.most:
            nn.utils.clip_grads_with_norm_(self.trained, self.most, norm)
        self.optimizer.step()

    def step(self) -> None:
        """Take a whole step."""
        self.losses()
        self.update()
        self.optimizer.zero_grad()


def measure(parts: Parts, rate: float, *, rounds: int) -> list[tuple[str, float, float]]:
    """Return the name, the milliseconds and the limit of a step, of its parts and of alternatives to them."""
    rows = []

    def add(name: str, work: Callable[[], object]) -> float:
        rows.append((name, milliseconds(work, rounds=rounds), 1000 * operations(work) / rate))
        parts.optimizer.zero_grad()
        return rows[-1][1]

    whole = add("a step", parts.step)
    known = add("vocabulary head: loss and gradient", parts.head)
    known += add("image decoder, forward and backward", parts.image)
    known += add("GRU of the text decoder, forward and backward", parts.recurrence)
    parts.losses()
    known += add("clipping and optimizer", parts.update)
    rows.append(("the rest, with Python", whole - known, 0.0))
    add("instead of that GRU: torch's own", parts.torch_recurrence)
    return rows


def compiled(parts: Parts, *, rounds: int) -> tuple[float, float]:
    """Compile the whole forward pass, and the backward pass with it; return seconds to compile, milliseconds after."""

    def seconds() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(each.ru_utime + each.ru_stime for each in used)

    started = seconds()
    parts.model.compile()
    parts.step()
    took = seconds() - started
    return took, milliseconds(parts.step, rounds=rounds)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--batch-size", type=int, nargs="+", default=[2])
    arguments.add_argument("--compile", action="store_true", help="also compile the whole model")
    arguments.add_argument("--quick", action="store_true", help="few rounds")
    given = arguments.parse_args()
    rounds = 5 if given.quick else 30
    tune_allocator()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        model, split, options = open_reference(Path(folder), max(given.batch_size))
        rate = product_rate(rounds=rounds)
        for size in given.batch_size:
            parts = Parts(model, split, options, size)
            table = Table(title=f"batch of {size}, {rate / 1e9:.0f} GFLOP/s")
            for name in ("", "ms", "limit, ms"):
                table.add_column(name, justify="right" if name else "left")
            for name, took, limit in measure(parts, rate, rounds=rounds):
                table.add_row(name, f"{took:.1f}", f"{limit:.1f}" if limit else "")
            console.print(table)
            if given.compile:
                took, after = compiled(parts, rounds=rounds)
                console.print(
                    f"compiled as a whole: {took:.0f} s of processor time to compile, then {after:.1f} ms a step"
                )


if __name__ == "__main__":
    main()
