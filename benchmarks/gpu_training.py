"""What `gpu.py` measures: training and prediction of a preset on synthetic stories, and the loops beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gpu_models
import numpy as np
import torch
from gpu_models import CONTEXT, FRAMES_OF_A_STORY, RepeatedRows, SyntheticData
from wordpiece import write_tokenizer

from vsr_cli.api import Decoding
from vsr_cli.config.experiment import TrainConfig, resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.data.cache.encoding import BATCH, image_tensor, to_array, visual_rows
from vsr_cli.data.cache.extraction import Features
from vsr_cli.model.building import build_model
from vsr_cli.model.loss_means import Split, open_split
from vsr_cli.model.parts import frozen_sample
from vsr_cli.model.story_model import StoryModel
from vsr_cli.model.weights import choose_device
from vsr_cli.plugin.discovery import registry
from vsr_cli.training.distributed import precision_of, start
from vsr_cli.training.fit_statistics import fit_to_training, training_frames
from vsr_cli.training.optimizer import make_optimizer
from vsr_cli.training.progress import Progress, in_parts, shuffled
from vsr_cli.training.step import StepRunner, compiled

if TYPE_CHECKING:
    from gpu import Size

VOCABULARY, SIDE = 30_522, 224
DISTINCT = 512
"""Features that are distinct; the others repeat them."""
WARM_STEPS = 2
DECODINGS = {
    "greedy": Decoding(),
    "sample": Decoding(method="sample", temperature=0.7),
    "mbr": Decoding(method="mbr", samples=12, temperature=0.7, utility="both"),
}
"""The last is that of the presets `laptop` and `strong`."""
PLAIN_NAMES = {
    "resnet.": "visual.network.", "see.": "visual.projection.", "read.": "text.projection.",
    "fuse.": "fusion.linear.", "remember.": "temporal.recurrent.", "embed.": "text_decoder.embedding.",
    "start.": "text_decoder.start.", "write.": "text_decoder.recurrent.", "head.": "text_decoder.head.",
    "first.": "image_decoder.first.", "draw.": "image_decoder.upsample.",
    "temperature": "terms.alignment.log_inverse_temperature",
}  # fmt: skip
"""The names of the plain model in `plain_training.py` and vsr's."""
SMALL_UNET = {"sample_size": 8, "block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 4,
              "attention_head_dim": 4, "cross_attention_dim": 32,
              "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
              "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")}  # fmt: skip
TURBO_UNET = {"sample_size": 64, "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20),
              "use_linear_projection": True}  # fmt: skip


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device, *, times: int = 1) -> float:
    """Return the mean seconds of a call, with all that it leaves the device to do."""
    synchronize(device)
    started = time.perf_counter()
    for _ in range(times):
        work()
    synchronize(device)
    return (time.perf_counter() - started) / times


@contextmanager
def precise() -> Iterator[None]:
    """Compute in single precision in a block, without TF32, and by the same algorithms each time."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    yield
    torch.backends.cudnn.deterministic = False


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A preset's model on the device, with synthetic stories and their cached features."""

    config: TrainConfig
    model: StoryModel
    data: SyntheticData
    features: Features
    device: torch.device

    @classmethod
    def build(
        cls, preset: str, settings: list[str], size: Size, device: torch.device, folder: Path, *, fit: bool = False
    ) -> Bench:
        """Build a preset with random weights. `fit` fits the parts that learn from the training frames first."""
        tokenizer = folder / "tokenizer.json"
        words = write_tokenizer(tokenizer, size=VOCABULARY)
        data = gpu_models.synthetic_data(size.windows, image_size=SIDE, words=size.words, vocabulary=words)
        chosen = ["visual.weights=random", "text.weights=random", f"text.tokenizer={tokenizer}"]
        chosen += [f"training.batch_size={size.batch}", f"training.device={device.type}", *settings]
        config = resolve_train(registry(), preset=preset, layers=[preset_layer(preset), *parse_set(chosen)])
        choose_device(config.training.device)
        torch.manual_seed(0)
        model = build_model(config, image_size=SIDE, training_texts=data.training_texts, steps=CONTEXT)
        visual, text, _ = frozen_sample(model.visual, model.text, image_size=SIDE)
        random = np.random.default_rng(1)

        def rows(shape: tuple[int, ...], count: int) -> RepeatedRows:
            return RepeatedRows(random.standard_normal((DISTINCT, *shape), dtype=np.float32), count)

        frames = data.frames
        features = Features(
            visual=rows(tuple(visual.shape[1:]), len(frames.images)),
            text=rows(tuple(text.shape[1:]), len(frames.texts)),
            tokens=model.text.tokenize(frames.texts),
        )
        model.to(device)
        if fit:
            fit_to_training(model, training_frames(model, data, features, device=device))  # type: ignore[arg-type]
        return cls(config=config, model=model, data=data, features=features, device=device)

    def split(self, model: StoryModel | None = None, device: torch.device | None = None) -> Split:
        """Open the training windows for the model, or for a copy of it on another device."""
        return open_split(model or self.model, self.data, "train", self.features, device=device or self.device)  # type: ignore[arg-type]

    def pixels(self, count: int, device: torch.device) -> torch.Tensor:
        """Return the visual encoder's input of the first images."""
        images = self.data.frames.images.gather(np.arange(count))
        return self.model.visual.pixels(image_tensor(images, device))

    def train(self, steps: int | None, *, compiling: bool = False) -> dict[str, Any]:
        """Train an epoch or so many steps of it by the loop's own steps; return seconds, loss and memory."""
        config, model, device = self.config, self.model, self.device
        accelerator = start(config.training)
        opening = time.perf_counter()
        split = self.split()
        synchronize(device)
        opening = time.perf_counter() - opening
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        wrapped, optimizer = accelerator.prepare(model, make_optimizer(model, config.training))
        size = config.training.batch_size
        runner = StepRunner(
            model=model,
            wrapped=wrapped,
            optimizer=optimizer,
            accelerator=accelerator,
            options=config.training,
            progress=Progress(windows_per_step=size, windows_per_pass=size),
        )
        model.train()
        parts = list(in_parts(shuffled(len(split), seed=0, epoch=1), size))
        whole, parts = len(parts), parts[:steps]
        losses: list[float] = []

        def step(windows: Any) -> None:
            losses.append(runner.run(split, windows, rate=1.0)["loss"])

        with compiled(model, enabled=compiling):
            first = seconds_of(lambda: step(parts[0]), device)
            for windows in parts[1:WARM_STEPS]:
                step(windows)
            each = iter(parts)
            per_step = seconds_of(lambda: step(next(each)), device, times=len(parts))
        own = iter(parts)

        def load() -> None:
            windows = next(own)
            split.contexts.batch(windows)
            split.targets.batch(windows)

        loading = seconds_of(load, device, times=min(50, len(parts)))
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
        return {
            "windows": len(split),
            "batch": size,
            "precision": precision_of(accelerator),
            "steps": len(parts),
            "opening the split, s": opening,
            "first step, s": first,
            "ms per step": 1000 * per_step,
            "windows per second": size / per_step,
            "seconds per epoch": per_step * whole,
            "loading, ms per step": 1000 * loading,
            "loading, share of a step": loading / per_step,
            "loss": float(np.mean(losses)),
            "peak memory, GiB": peak,
        }

    def predict(self, count: int, method: str) -> dict[str, float]:
        """Predict frames of the first windows; return the seconds of one, and the peak of memory."""
        model, device = self.model.eval(), self.device
        contexts = self.split().contexts
        decoding = DECODINGS[method]
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        parts = list(in_parts(np.arange(count), BATCH))
        model.predict(contexts.batch(parts[0][:1]), decoding)
        each = iter(parts)
        seconds = seconds_of(lambda: model.predict(contexts.batch(next(each)), decoding), device, times=len(parts))
        peak = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
        return {
            f"frames predicted per second ({method})": count / len(parts) / seconds,
            "peak memory of predicting, GiB": peak,
        }


def decoder_settings(name: str, size: Size, device: torch.device, folder: Path) -> list[str]:
    """Write the models of `lm` or `strong` and return the settings that name them."""
    from gpu import LANGUAGE_MODELS

    kind = "small" if size.small else name
    tokenizer = folder / "tokenizer.json"
    write_tokenizer(tokenizer, size=VOCABULARY)
    language = gpu_models.write_language_model(folder / "lm", tokenizer, device, **LANGUAGE_MODELS[kind])
    settings = ["text_decoder.name=lm", f"text_decoder.model={language}"]
    if size.small:
        settings += ["text_decoder.length=12"]
    if name == "lm":
        return [*settings, "image_decoder.name=repeat-context", "text_decoder.share=1"]
    small = size.small
    vision = gpu_models.write_vision_model(
        folder / "vision",
        side=28 if small else 224,
        hidden_size=32 if small else 768,
        num_hidden_layers=2 if small else 12,
        num_attention_heads=2 if small else 12,
        image_size=28 if small else 518,
        patch_size=14,
    )
    text = gpu_models.write_text_model(
        folder / "text",
        vocab_size=VOCABULARY,
        hidden_size=32 if small else 768,
        num_hidden_layers=2 if small else 12,
        num_attention_heads=2 if small else 12,
        max_position_embeddings=514,
    )
    wide = (32, 32) if small else (128, 256, 512, 512)
    words = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_hidden_layers": 2}
    pipeline = gpu_models.write_pipeline(
        folder / "pipeline",
        device,
        unet=SMALL_UNET if small else TURBO_UNET,
        vae={
            "block_out_channels": wide,
            "down_block_types": ["DownEncoderBlock2D"] * len(wide),
            "up_block_types": ["UpDecoderBlock2D"] * len(wide),
            "layers_per_block": 1 if small else 2,
            "norm_num_groups": 4 if small else 32,
            "latent_channels": 4,
            "sample_size": 16 if small else 512,
        },
        text={
            **(words if small else {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}),
            **({} if small else {"num_hidden_layers": 23, "hidden_act": "gelu"}),
            "vocab_size": 49_408,
        },
    )
    return [
        *settings,
        f"visual.model={vision}",
        f"text.model={text}",
        f"image_decoder.model={pipeline}",
    ]


def plain_step_seconds(bench: Bench, size: Size) -> float:
    """Return the seconds of a step of the plain model, after checking that its losses are those of vsr.

    Its features and batches lie on the device. Its DistilBERT is frozen up to where vsr's is.
    """
    from plain_training import PlainStory

    config, model, device = bench.config, bench.model, bench.device
    accelerator = start(config.training)
    plain = PlainStory(frozen_layers=4).to(device)
    state, theirs = model.state_dict(), plain.state_dict()
    upper = [name for name in theirs if name.startswith("bert.")]
    named = {name: _own_name(name) for name in theirs if name not in upper}
    for name in upper:
        for layer in (4, 5):
            mark = f"bert.transformer.layer.{layer}."
            if name.startswith(mark):
                named[name] = f"text.upper.{layer - 4}.{name.removeprefix(mark)}"
    plain.load_state_dict({name: state[own] for name, own in named.items()}, strict=False)
    split = bench.split()
    # Of different stories, as the plain loop takes every other text for a wrong one, also the same.
    apart = np.arange(0, len(split), FRAMES_OF_A_STORY - CONTEXT)[: 4 * size.batch]
    parts = list(in_parts(apart, size.batch))
    batches = [(split.contexts.batch(part), split.targets.batch(part)) for part in parts]

    def losses(context: Any, target: Any) -> dict[str, torch.Tensor]:
        states = context.text.flatten(0, 1)  # (N, L, H), below the layers that train
        mask = context.text_mask.flatten(0, 1)
        for layer in plain.bert.transformer.layer[4:]:
            states = layer(states, mask[:, None, None])
        return plain.losses(context.visual.flatten(0, 1), states[:, 0], target.ids, target.image)

    plain.eval(), model.eval()
    with torch.no_grad(), precise():
        ours, rivals = model.losses(*batches[0]), losses(*batches[0])
    for name, loss in rivals.items():
        gap = abs(float(loss) - float(ours[name])) / max(1e-6, abs(float(loss)))
        assert gap < 1e-3, f"the plain loop does other work: its {name} loss is {loss} and vsr's {ours[name]}"
    plain.train(), model.train()
    trained = [weight for weight in plain.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    half = precision_of(accelerator) == "bf16"

    def step(number: int) -> None:
        with torch.autocast(device.type, torch.bfloat16) if half else nullcontext():
            loss = losses(*batches[number % len(batches)])["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    for number in range(WARM_STEPS):
        step(number)
    numbers = iter(range(10_000))
    return seconds_of(lambda: step(next(numbers)), device, times=2 if size.small else 50)


def _own_name(name: str) -> str:
    prefix = next(prefix for prefix in PLAIN_NAMES if name.startswith(prefix))
    return PLAIN_NAMES[prefix] + name.removeprefix(prefix)


def encode(size: Size, device: torch.device, folder: Path) -> dict[str, Any]:
    """Encode prepared images by ResNet-50: as `vsr prepare` does, and by a plain loop with the same weights."""
    from plain_training import MEAN, STD
    from torchvision.models import resnet50

    bench = Bench.build("reference", [], size, device, folder)
    encoder, frames = bench.model.visual.eval(), bench.data.frames
    network = resnet50(weights=None)
    network.fc = torch.nn.Identity()
    network.load_state_dict({name: value.cpu() for name, value in encoder.network.state_dict().items()})
    network.to(device).eval()
    mean, std = MEAN.to(device), STD.to(device)
    parts = list(in_parts(np.arange(size.images), BATCH))
    compute = visual_rows(frames, encoder, device)

    def plainly(rows: Any) -> Any:
        images = torch.from_numpy(frames.images.gather(rows)).to(device).permute(0, 3, 1, 2).float() / 255
        with torch.no_grad():
            return network((images - mean) / std).cpu().numpy()

    one, other = to_array(compute(parts[0])), plainly(parts[0])
    gap = float(np.linalg.norm(one - other) / np.linalg.norm(other))
    assert gap < 1e-3, f"the plain loop computes other features: they differ by {gap:.1e}"
    ours, theirs = iter(parts), iter(parts)
    rival = size.images / len(parts) / seconds_of(lambda: plainly(next(theirs)), device, times=len(parts))
    rate = size.images / len(parts) / seconds_of(lambda: to_array(compute(next(ours))), device, times=len(parts))
    return {
        "images": size.images,
        "images/s": rate,
        "plain loop, images/s": rival,
        "times the plain loop": rate / rival,
    }
