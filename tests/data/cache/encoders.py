"""Stories in memory and small encoders, whose features are cached."""

import io

import numpy as np
import torch
from PIL import Image

from vsr_cli.api import Frame, Story, TokenBatch
from vsr_cli.config.experiment import resolve_prepare
from vsr_cli.config.resolve import Layer
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.cache.extraction import load_or_compute, text_request, visual_request
from vsr_cli.data.preparation.prepare import prepare_stories
from vsr_cli.data.shards import map_shard
from vsr_cli.plugin.discovery import registry

CPU = torch.device("cpu")


CHOSEN = {
    "dataset": {"name": "storyworld"},
    "visual": {"name": "tiny-cnn"},
    "text": {"name": "tiny-text"},
    "data": {"image_size": 16, "window": "sliding", "validation": 0, "test": 0.3},
}


LENGTH = 6


class MemoryDataset:
    def __init__(self, *names):
        self.names = names

    def read(self, source):
        for name in self.names:
            frames = []
            for index in range(6):
                pixels = np.random.default_rng(list(f"{name}{index}".encode())).integers(0, 256, (16, 16, 3))
                Image.fromarray(pixels.astype(np.uint8)).save(buffer := io.BytesIO(), "PNG")
                frames.append(Frame(image=buffer.getvalue(), text=f"{name} {'and on ' * (index % 3)}{index}."))
            yield Story(id=name, frames=tuple(frames))

    def describe(self, source):
        return {}


class Visual(torch.nn.Module):
    """A third party's encoder: nothing of the cache's but `frozen` and `cache_key`."""

    def __init__(self, key="abc"):
        super().__init__()
        self.cache_key = key
        self.seen = 0

    def pixels(self, images):
        return images.float() / 255

    def frozen(self, pixels):
        self.seen += len(pixels)
        return pixels.mean(dim=(2, 3)) @ torch.arange(12.0).reshape(3, 4)


class Text(torch.nn.Module):
    """One vector a token: what stands at padding is noise that nobody may rely on."""

    cache_key = "tok"

    def __init__(self):
        super().__init__()
        self.seen = 0

    def tokenize(self, texts):
        lengths = [min(LENGTH, len(text.split())) for text in texts]
        mask = np.arange(LENGTH) < np.asarray(lengths)[:, None]
        ids = np.asarray([[sum(text.encode()) % 97 + at for at in range(LENGTH)] for text in texts])
        return TokenBatch(ids=np.where(mask, ids, 0), mask=mask)

    def frozen(self, ids, mask):
        self.seen += len(ids)
        noise = torch.rand(*ids.shape, 3)
        return torch.where(mask[..., None], ids[..., None] + torch.arange(3.0), noise)


def prepared_of(out, *names):
    config = resolve_prepare(registry(), preset="tiny", layers=[Layer("test", CHOSEN)])
    prepared, _ = prepare_stories(config, MemoryDataset(*names), None, out)
    return prepared


def windows_of(prepared):
    return [prepared.windows(split) for split in ("train", "validation", "test")]


def visual_of(prepared, encoder, **options):
    return load_or_compute(
        visual_request(prepared, encoder, windows_of(prepared), device=CPU), FeatureOptions(**options)
    )


def text_of(prepared, encoder):
    return load_or_compute(text_request(prepared, encoder, windows_of(prepared), device=CPU), FeatureOptions())


NAMES = [f"story {number}" for number in range(9)]


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-8])


def flipped(tensor):
    """Make a function that flips a bit in a tensor of a shard."""

    def change(path):
        content = bytearray(path.read_bytes())
        start = content.find(map_shard(path).unread(tensor).tobytes())
        assert start > 0
        content[start + 5] ^= 4
        path.write_bytes(content)

    return change
