"""How fast `vsr` trains beside two rivals on equal work: the reference design at its true sizes, with the same losses.

    (a) the seed's way, written straight: decode the pictures, run ResNet-50 and all of DistilBERT, for every story of
        every epoch
    (b) accelerate with a DataLoader of two workers that decode, frozen encoders under no_grad: what a Trainer does
    (c) vsr: `run_prepare` once, then its own training

Run as `python benchmarks/train.py`. The parts that train, the losses and the optimizer's rule are the same code for all
three; backbones have random weights (the work is the same). Each rival runs in a process of its own, whose peak memory
is its own, and rivals take turns, so that what disturbs the machine disturbs all. Stories/s count a story's one window.
The limit is the floating-point operations of the trained part's step (torch's counter: matrix products and
convolutions; it does not see inside the GRU) over the rate of a large matrix product in the same run.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

WORDS = 30_522
FRAMES = 5
SIZE = 224
RIVALS = {"plain": "(a) the seed's loop", "loader": "(b) accelerate, DataLoader", "vsr": "(c) vsr"}


def write_tokenizer(path: Path) -> None:
    """Write a WordPiece tokenizer of BERT's size, whose words are storyworld's and made-up ones."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    special = ["[PAD]", *[f"[unused{number}]" for number in range(99)], "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1) if not chr(code).isupper()]
    words = sorted({word for story in stories(64) for frame in story.frames for word in _words(frame.text)})
    pieces = [*special, *letters, *(f"##{letter}" for letter in letters), *(w for w in words if len(w) > 1)]
    pieces += [f"word{number}" for number in range(WORDS - len(pieces))]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.save(str(path))


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()


def stories(count: int) -> list[Any]:
    """Draw stories in about StoryReasoning's size of picture."""
    from vsr_plugins.storyworld import StoryWorldOptions
    from vsr_plugins.storyworld.reader import build

    return list(build(StoryWorldOptions(stories=count, width=575, height=240)).read(None))


def settings(given: argparse.Namespace, tokenizer: Path) -> list[str]:
    """Give what all rivals train: the reference preset with random backbones."""
    frozen = "all" if given.frozen == "all" else "4"
    return [
        "visual.weights=random",
        "text.weights=random",
        f"text.tokenizer={tokenizer}",
        f"text.frozen_layers={frozen}",
        f"training.batch_size={given.batch_size}",
        f"training.epochs={given.epochs}",
        "data.validation=0",
        "data.test=0",
    ]


def configure(given: argparse.Namespace, tokenizer: Path) -> Any:
    """Resolve the training configuration that the rivals share."""
    from vsr_cli.config import resolve_train
    from vsr_cli.layers import parse_set, preset_layer
    from vsr_cli.plugin.discovery import registry

    chosen = [item for item in settings(given, tokenizer) if not item.startswith("data.")]
    return resolve_train(registry(), preset="reference", layers=[preset_layer("reference"), *parse_set(chosen)])


def read(image: bytes) -> Any:
    """Decode and squash a picture as anyone would: (224, 224, 3) uint8."""
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def make_batch(model: Any, items: list[tuple[Any, list[str]]]) -> tuple[Any, Any]:
    """Make a context and a target of stories' pictures (5, H, W, 3) and texts, running the encoders' frozen halves."""
    import numpy as np
    import torch

    from vsr_cli.api import Context, Target

    pictures = torch.from_numpy(np.stack([pixels for pixels, _ in items])).movedim(-1, -3)  # (B, 5, 3, H, W)
    size = (len(items), FRAMES - 1)
    tokens = model.text.tokenize([text for _, texts in items for text in texts[:4]])
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    visual = model.visual.frozen(model.visual.pixels(pictures[:, :4].flatten(0, 1)))
    text = model.text.frozen(ids, mask)
    rows = torch.arange(size[0] * size[1]).reshape(size)
    context = Context(
        visual=visual.reshape(*size, *visual.shape[1:]),
        text=text.reshape(*size, *text.shape[1:]),
        text_ids=ids.reshape(*size, -1),
        text_mask=mask.reshape(*size, -1),
        mask=torch.ones(size, dtype=torch.bool),
        last_image=pictures[:, 3].float() / 255,
        story=torch.arange(size[0]),
        text_row=rows,
    )
    wanted = model.text_decoder.tokenize([texts[4] for _, texts in items])
    target = Target(
        ids=torch.from_numpy(wanted.ids), mask=torch.from_numpy(wanted.mask), image=pictures[:, 4].float() / 255
    )
    return context, target


def rounds(step: Callable[[list[int]], None], given: argparse.Namespace) -> dict[str, float]:
    """Time steps over the stories, after one to warm up; give the best of some rounds, in stories a second."""
    indices = list(range(given.rival_stories))
    batches = [indices[start : start + given.batch_size] for start in range(0, len(indices), given.batch_size)]
    step(batches[0])
    best = 0.0
    for _ in range(given.rounds):
        started = time.perf_counter()
        for batch in batches:
            step(batch)
        best = max(best, len(indices) / (time.perf_counter() - started))
    return {"rate": best}


def plain(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """(a) Everything anew for every story."""
    import torch

    from vsr_cli.model.building import build_model

    config = configure(given, folder / "tokenizer.json")
    torch.manual_seed(0)
    model = build_model(config, image_size=SIZE).train()
    told = [(story.frames[:FRAMES]) for story in stories(given.rival_stories)]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)

    def step(batch: list[int]) -> None:
        items = [([read(f.image) for f in told[at]], [f.text for f in told[at]]) for at in batch]
        losses = model(*make_batch(model, items))
        optimizer.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return rounds(step, given)


def loader(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """(b) A DataLoader decodes in two workers; the frozen halves run under no_grad; accelerate does the rest."""
    import torch
    from accelerate import Accelerator
    from torch.utils.data import DataLoader

    from vsr_cli.model.building import build_model

    config = configure(given, folder / "tokenizer.json")
    torch.manual_seed(0)
    model = build_model(config, image_size=SIZE).train()
    told = [(story.frames[:FRAMES]) for story in stories(given.rival_stories)]
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    wrapped, optimizer = accelerator.prepare(model, optimizer)

    class Frames(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(told)

        def __getitem__(self, at: int) -> Any:
            return [read(frame.image) for frame in told[at]], [frame.text for frame in told[at]]

    batches = DataLoader(
        Frames(), batch_size=given.batch_size, num_workers=2, collate_fn=list, shuffle=True, persistent_workers=True
    )

    def epoch() -> None:
        for items in batches:
            with torch.no_grad():
                context, target = make_batch(model, items)
            losses = wrapped(context, target)
            optimizer.zero_grad()
            accelerator.backward(losses["loss"])
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()

    epoch()
    best = 0.0
    for _ in range(given.rounds):
        started = time.perf_counter()
        epoch()
        best = max(best, len(told) / (time.perf_counter() - started))
    return {"rate": best}


def vsr(given: argparse.Namespace, folder: Path) -> dict[str, float]:
    """(c) vsr's own commands, and the limit of its step."""
    from vsr_cli.commands.prepare import prepare_config, run_prepare
    from vsr_cli.commands.settings import train_config
    from vsr_cli.commands.train import read_manifest, run_train
    from vsr_cli.plugin.discovery import registry

    os.environ["VSR_CACHE"] = str(folder / f"cache-{time.time_ns()}")
    chosen = settings(given, folder / "tokenizer.json")
    data = folder / f"data-{time.time_ns()}"
    drawn = [f"dataset.stories={given.stories}", "dataset.width=575", "dataset.height=240"]
    config = prepare_config(
        registry(),
        dataset="storyworld",
        preset="reference",
        flags={"data.window": "first"},
        assignments=[item for item in chosen if item.split(".")[0] in ("visual", "text", "data")] + drawn,
    )
    started = time.perf_counter()
    run_prepare(config, None, data)
    prepared_in = time.perf_counter() - started
    training = train_config(
        registry(),
        manifest=read_manifest(data),
        preset="reference",
        config=None,
        flags={},
        assignments=[item for item in chosen if not item.startswith("data.")],
    )
    started = time.perf_counter()
    run = run_train(training, data, folder / f"run-{time.time_ns()}")
    trained_in = time.perf_counter() - started
    rows = [json.loads(line) for line in run.history.read_text().splitlines()]
    steady = max(row["windows_per_second"] for row in rows[1:] or rows)
    return {
        "rate": steady,
        "prepare_seconds": prepared_in,
        "train_seconds": trained_in,
        **limit(given, training, data),
    }


def limit(given: argparse.Namespace, config: Any, data: Path) -> dict[str, float]:
    """Count the operations of a step, and measure how fast this machine multiplies matrices."""
    import numpy as np
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vsr_cli.data.batches import Contexts, Targets
    from vsr_cli.data.features import frozen_features
    from vsr_cli.data.prepared import open_prepared
    from vsr_cli.model.building import build_model

    torch.manual_seed(config.training.seed)
    prepared = open_prepared(data)
    model = build_model(config, image_size=SIZE, training_texts=prepared.training_texts).train()
    device = torch.device("cpu")
    features = frozen_features(prepared, model.visual, model.text, device=device, options=config.features)
    windows = prepared.windows("train")
    contexts = Contexts(
        prepared.frames, windows, visual=model.visual, text=model.text, features=features, device=device
    )
    targets = Targets(prepared.frames, windows, decoder=model.text_decoder, device=device)
    indices = np.arange(given.batch_size)
    with FlopCounterMode(display=False) as counter:
        model(contexts.batch(indices), targets.batch(indices))["loss"].backward()
    side = 2048
    left, right = torch.randn(side, side), torch.randn(side, side)
    best = min(_timed(lambda: left @ right) for _ in range(7))
    return {"step_flops": float(counter.get_total_flops()), "matmul_flops_per_second": 2 * side**3 / best}


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def grow(count: int) -> dict[str, float]:
    """Prepare and train on so many stories, with small pictures and parts, and give what that cost."""
    from prepare import Retold  # type: ignore[import-not-found]  # the benchmark beside this one

    from vsr_cli.commands.settings import train_config
    from vsr_cli.commands.train import read_manifest, run_train
    from vsr_cli.config import resolve_prepare
    from vsr_cli.data.preparing import prepare_stories
    from vsr_cli.layers import parse_set, preset_layer
    from vsr_cli.plugin.discovery import registry

    with tempfile.TemporaryDirectory() as folder:
        layers = [preset_layer("tiny"), *parse_set(["data.window=first", "data.validation=0", "data.test=0"])]
        config = resolve_prepare(registry(), preset="tiny", layers=layers)
        started = time.perf_counter()
        prepare_stories(config, Retold(count), None, Path(folder) / "data")
        seconds = time.perf_counter() - started
        data = Path(folder) / "data"
        training = train_config(
            registry(),
            manifest=read_manifest(data),
            preset=None,
            config=None,
            flags={"training.epochs": 1},
            assignments=[],
        )
        run = run_train(training, data, Path(folder) / "run")
        row = json.loads(run.history.read_text().splitlines()[-1])
    return {"prepare_seconds": seconds, "rate": row["windows_per_second"], "epoch_seconds": row["seconds"]}


def in_a_process(what: str, given: argparse.Namespace, folder: Path, **changed: object) -> dict[str, float]:
    """Run one measurement in a process of its own, with its peak memory."""
    options = {**vars(given), **changed, "one": what, "folder": folder}
    options = {name: value for name, value in options.items() if name not in ("json", "grow") and value is not None}
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    ran = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SystemExit(ran.stderr)
    measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def compare(given: argparse.Namespace, folder: Path, frozen: str) -> dict[str, Any]:
    """Let the rivals take turns and keep each one's best."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(given.turns):
        for rival in RIVALS:
            measured = in_a_process(rival, given, folder, frozen=frozen)
            if rival not in best or measured["rate"] > best[rival]["rate"]:
                best[rival] = measured
    ours = best["vsr"]
    ten = given.stories * 10
    ours["ten_epochs_seconds"] = ours["prepare_seconds"] + ten / ours["rate"]
    step = given.batch_size / ours["rate"]
    ours["over_the_limit"] = step / (ours["step_flops"] / ours["matmul_flops_per_second"])
    for rival in ("plain", "loader"):
        best[rival]["ten_epochs_seconds"] = ten / best[rival]["rate"]
    return {"frozen": frozen, "rivals": best}


def show(given: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    """Print a table for each freezing."""
    console = Console()
    for result in results:
        what = "all encoders frozen" if result["frozen"] == "all" else "DistilBERT's top two layers train"
        table = Table(title=f"{what}; batch {given.batch_size}, {os.cpu_count()} cores, {given.stories} stories")
        for name in ("", "stories/s", "times (a)", "times (b)", "ten epochs*, s", "times (a)", "peak MiB"):
            table.add_column(name, justify="right" if name else "left")
        rivals = result["rivals"]
        for rival, title in RIVALS.items():
            row = rivals[rival]
            table.add_row(
                title,
                f"{row['rate']:.2f}",
                f"{row['rate'] / rivals['plain']['rate']:.1f}",
                f"{row['rate'] / rivals['loader']['rate']:.1f}",
                f"{row['ten_epochs_seconds']:.0f}",
                f"{rivals['plain']['ten_epochs_seconds'] / row['ten_epochs_seconds']:.1f}",
                f"{row['peak_mib']:.0f}",
            )
        console.print(table)
        ours = rivals["vsr"]
        console.print(
            f"vsr's step takes {ours['over_the_limit']:.1f} times the limit: {ours['step_flops'] / 1e9:.1f} GFLOP at "
            f"{ours['matmul_flops_per_second'] / 1e9:.0f} GFLOP/s"
        )
    console.print("* with vsr's whole prepare; projected from the steady rates")


def lines(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure how cost grows with the number of stories."""
    with tempfile.TemporaryDirectory() as folder:
        for count in given.grow:
            yield {"stories": count, **in_a_process("grow", given, Path(folder), stories=count)}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--stories", type=int, default=200, help="that vsr trains on")
    arguments.add_argument("--rival-stories", type=int, default=8, help="that (a) and (b) go through in a round")
    arguments.add_argument("--batch-size", type=int, default=2)
    arguments.add_argument("--epochs", type=int, default=3, help="of vsr; the first is left out of its rate")
    arguments.add_argument("--rounds", type=int, default=2, help="of (a) and (b) in a turn; the best counts")
    arguments.add_argument("--turns", type=int, default=2)
    arguments.add_argument("--frozen", choices=["all", "top-two", "both"], default="both")
    arguments.add_argument(
        "--grow", type=int, nargs="*", metavar="N", help="also train on so many stories, in miniature"
    )
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--one", choices=[*RIVALS, "grow"], help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        measures: dict[str, Callable[[], dict[str, float]]] = {
            "plain": lambda: plain(given, given.folder),
            "loader": lambda: loader(given, given.folder),
            "vsr": lambda: vsr(given, given.folder),
            "grow": lambda: grow(given.stories),
        }
        measured = measures[given.one]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({**measured, "peak_mib": peak}))
        return
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder) / "tokenizer.json")
        chosen = ["all", "top-two"] if given.frozen == "both" else [given.frozen]
        results = [compare(given, Path(folder), frozen) for frozen in chosen]
    grown = list(lines(given)) if given.grow else []
    if given.json:
        print(json.dumps({"results": results, "growth": grown}))
        return
    show(given, results)
    for row in grown:
        Console().print(
            f"{row['stories']:,} stories in miniature: prepare {row['prepare_seconds']:.1f} s, "
            f"train {row['rate']:.0f} stories/s, peak {row['peak_mib']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
