"""Encoding of images and texts by `vsr prepare`, next to plain loops and to the arithmetic limit; run by `prepare.py`.

The rivals are torchvision's loop (`DataLoader`, `model(images)`) and transformers' (`tokenizer(texts)`,
`model(**batch)`), both in eval mode without gradients, with the networks that vsr has built. They must compute the same
features, to one part in ten thousand. All seconds are processor seconds, to mean the same on a busy machine.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wordpiece
from arithmetic import operations, product_rate
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

SIZE, BATCH, TOKENS = 224, 32, 128
SAME = 1e-4
"""Largest difference of two features, relative to the largest feature."""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor seconds of a piece of work, and its result."""
    started = time.process_time()
    made = work()
    return time.process_time() - started, made


class Stories:
    """Stories of five frames with storyworld's images, and texts of 8 to 120 made-up words."""

    def __init__(self, count: int) -> None:
        from vsr_plugins.datasets import StoryWorldOptions
        from vsr_plugins.datasets.storyworld.reader import build

        self.stories = list(build(StoryWorldOptions(stories=count, width=575, height=240)).read(None))

    def read(self, source: str | None) -> Iterator[Any]:
        from dataclasses import replace

        random = np.random.default_rng(0)
        for story in self.stories:
            frames = (
                replace(frame, entities=(), text=" ".join(f"word{n}" for n in random.integers(0, 9000, length)))
                for frame, length in zip(story.frames[:5], random.integers(8, 121, 5), strict=True)
            )
            yield replace(story, frames=tuple(frames), analysis=None)

    def describe(self, source: str | None) -> dict[str, str]:
        return {"source": "generated"}


class Pictures(Dataset[Tensor]):
    """JPEG files in memory, decoded and normalized as torchvision's models expect."""

    def __init__(self, files: list[bytes]) -> None:
        from torchvision.transforms.v2 import Compose, Normalize, ToDtype, ToImage

        self.files = files
        normalize = Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        self.transform = Compose([ToImage(), ToDtype(torch.float32, scale=True), normalize])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, at: int) -> Tensor:
        with Image.open(io.BytesIO(self.files[at])) as image:
            square = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
        pixels: Tensor = self.transform(square)
        return pixels


@torch.no_grad()
def torchvision_loop(model: torch.nn.Module, files: list[bytes]) -> tuple[float, np.ndarray[Any, Any]]:
    """Return the processor seconds inside of the model, and the features."""
    inside, found = 0.0, []
    for images in DataLoader(Pictures(files), batch_size=BATCH):
        seconds, features = timed(lambda: model(images))  # noqa: B023
        inside += seconds
        found.append(features)
    return inside, torch.cat(found).numpy()


@torch.no_grad()
def transformers_loop(model: Any, tokenizer: Any, texts: list[str]) -> tuple[float, np.ndarray[Any, Any]]:
    """Return the processor seconds inside of the model, and the states of [CLS]."""
    inside, found = 0.0, []
    for start in range(0, len(texts), BATCH):
        batch = tokenizer(
            texts[start : start + BATCH], padding=True, truncation=True, max_length=TOKENS, return_tensors="pt"
        )
        seconds, output = timed(lambda: model(**batch))  # noqa: B023
        inside += seconds
        found.append(output.last_hidden_state[:, 0])
    return inside, torch.cat(found).numpy()


def refuse_different(ours: Any, theirs: Any, what: str) -> float:
    """Return how far features differ, relative to the largest. Raises SystemExit if vsr and the rival disagree."""
    if ours.shape != theirs.shape:
        raise SystemExit(f"{what}: vsr's features are {ours.shape}, the rival's {theirs.shape}")
    apart = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    if not apart < SAME:
        raise SystemExit(f"{what}: the features of vsr and of the rival differ by {apart:.1e} of the largest")
    return apart


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Measure the encoding by one network in this process, whose cache is empty."""
    from vsr_cli.config.experiment import resolve_prepare
    from vsr_cli.config.resolve import parse_set, preset_layer
    from vsr_cli.data.cache.encoding import MANY
    from vsr_cli.data.cache.extraction import load_or_compute, text_request, visual_request
    from vsr_cli.data.preparation.prepare import prepare_stories
    from vsr_cli.data.splits import SPLITS
    from vsr_cli.model.frozen_store import FrozenStore
    from vsr_cli.model.parts import build_part
    from vsr_cli.plugin.discovery import registry
    from vsr_cli.training.memory import tune_allocator

    torch.set_num_threads(given.threads)
    tune_allocator()
    rates = [product_rate(rounds=4)]  # several times, since other load changes the clock of the processor
    of_texts = given.network == "distilbert"
    with tempfile.TemporaryDirectory() as folder:
        wordpiece.write_tokenizer(tokenizer_file := Path(folder) / "tokenizer.json", size=30_522)
        chosen = [
            "dataset.name=storyworld",
            "data.validation=0",
            "data.test=0",
            "text.weights=random",
            f"text.tokenizer={tokenizer_file}",
        ]
        chosen += [f"text.length={TOKENS}", "text.frozen_layers=all", f"visual.weights={given.weights or 'random'}"]
        if not of_texts:
            chosen.insert(0, f"visual.name={given.network}")
        config = resolve_prepare(registry(), preset="reference", layers=[preset_layer("reference"), *parse_set(chosen)])
        prepare_stories(config, Stories(1), None, Path(folder) / "warm-up")  # imports libraries
        stories = Stories(given.stories)
        reading, (prepared, _) = timed(lambda: prepare_stories(config, stories, None, Path(folder) / "data"))
        assert prepared is not None
        encoder = build_part(
            "text" if of_texts else "visual",
            config.text if of_texts else config.visual,
            training_texts=tuple,
            store=FrozenStore(options=config.features, writes=False),
            width=256,
            image_size=SIZE,
            steps=4,
        ).eval()
        windows = [prepared.windows(split) for split in SPLITS]
        request = (text_request if of_texts else visual_request)(prepared, encoder, windows, device=torch.device("cpu"))
        assert request is not None
        request.compute(np.resize(request.rows, BATCH if of_texts else MANY), config.features)  # to warm up
        encoding, rows = timed(lambda: load_or_compute(request, config.features))
        rates.append(product_rate(rounds=4))
        ours = rows.gather(request.rows)
        if of_texts:
            from transformers import PreTrainedTokenizerFast

            texts = [prepared.frames.texts[row] for row in request.rows.tolist()]
            ids = encoder.tokenize(texts)
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tokenizer_file), pad_token="[PAD]")
            tokenizer.backend_tokenizer.post_processor = bert_frame(tokenizer.backend_tokenizer)
            whole, (inside, theirs) = timed(lambda: transformers_loop(encoder.lower, tokenizer, texts))
            needed = text_flops(encoder.lower, ids.mask.sum(axis=1))
            reading = 0.0
        else:
            order = {digest: at for at, digest in enumerate(digests_of(stories))}
            rows_of = [order[bytes(digest)] for digest in prepared.image_facts.digest[request.rows]]
            files = [bytes(frame.image) for story in stories.read(None) for frame in story.frames]
            chosen_files = [files[at] for at in rows_of]
            whole, (inside, theirs) = timed(lambda: torchvision_loop(encoder.network, chosen_files))
            with torch.no_grad():
                needed = len(chosen_files) * operations(lambda: encoder.network(torch.zeros(1, 3, SIZE, SIZE)))
        rates.append(product_rate(rounds=4))
    count = len(ours)
    rate = max(rates)
    limit = needed / rate
    return {
        "network": given.network,
        "rows": count,
        "gflops_per_row": needed / count / 1e9,
        "gflops_per_second": rate / 1e9,
        "limit_ms": 1000 * limit / count,
        "ms": 1000 * encoding / count,
        "reading_ms": 1000 * reading / count,
        "rival_model_ms": 1000 * inside / count,
        "rival_ms": 1000 * whole / count,
        "times_the_limit": encoding / limit,
        "rival_times_the_limit": inside / limit,
        "times_faster": whole / (encoding + reading),
        "apart": refuse_different(ours, theirs, given.network),
    }


def digests_of(stories: Stories) -> list[bytes]:
    """Return the digests of the prepared pixels of all frames."""
    from vsr_cli.data.duplicates import digest_image
    from vsr_cli.data.images import read_image

    frames = [frame for story in stories.read(None) for frame in story.frames]
    return [
        bytes.fromhex(digest_image(read_image(frame.image, where="", size=SIZE, resize="stretch").pixels))
        for frame in frames
    ]


def bert_frame(tokenizer: Any) -> Any:
    """Return the post-processor that puts a text between [CLS] and [SEP]."""
    from tokenizers.processors import BertProcessing

    return BertProcessing(*(((name, tokenizer.token_to_id(name))) for name in ("[SEP]", "[CLS]")))


@torch.no_grad()
def text_flops(model: Any, lengths: Any) -> int:
    """Count the operations of texts without padding: a polynomial of their length, of degree two."""
    points = [16, 32, 64]
    counted = [operations(lambda: model(input_ids=torch.ones(1, each, dtype=torch.long))) for each in points]  # noqa: B023
    return int(np.polyval(np.polyfit(points, counted, 2), lengths).sum())


def main() -> None:
    """Print the measurement of one network as JSON; `prepare.py` runs this in a process of its own."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--network", required=True)
    arguments.add_argument("--weights", help="a file of the visual encoder's weights; default: random ones")
    arguments.add_argument("--stories", type=int, default=32)
    arguments.add_argument("--threads", type=int, default=1)
    print(json.dumps(measure(arguments.parse_args())))


if __name__ == "__main__":
    main()
