"""Components that violate one contract each."""

import itertools
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vsr_cli.api import Decoding, Frame, Options, Story, Survey, content_key
from vsr_cli.api.text_loss import PLAIN, head_loss
from vsr_plugins.datasets import StoryWorldOptions
from vsr_plugins.datasets.storyworld.reader import StoryWorld
from vsr_plugins.fusions.fusions import Concat
from vsr_plugins.image_decoders import DeconvOptions
from vsr_plugins.image_decoders.deconv import Deconv
from vsr_plugins.metrics.pixels import MeanSquaredError
from vsr_plugins.text_decoders import GruOptions
from vsr_plugins.text_decoders.gru import GruDecoder
from vsr_plugins.text_encoders import TinyTextOptions
from vsr_plugins.text_encoders.tiny import TinyText

from ..generative_decoder import NOISE, TextPainter


class WiderFusion(Concat):
    def forward(self, visual, text):
        return torch.cat([visual, super().forward(visual, text)], dim=-1)


class ForgottenLayer(Concat):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.forgotten = nn.Linear(context.width, context.width)


class Neighbourly(Concat):
    def forward(self, visual, text):
        return super().forward(visual, text) + visual.mean(dim=0)


class Unsaved(Concat):
    def __init__(self, options, context):
        super().__init__(options, context)
        self.offset = torch.randn(context.width)

    def forward(self, visual, text):
        return super().forward(visual, text) + self.offset


class SingleOnly(Concat):
    def forward(self, visual, text):
        return torch.linalg.qr(super().forward(visual, text))[0] * 0 + super().forward(visual, text)


class Clumsy(Concat):
    def forward(self, visual, text):
        return {}["joined"]


class NoPair(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, frames, mask):
        return self.layer(frames)


class Divides(NoPair):
    """Takes the spread of the real frames, which one frame has none of."""

    def forward(self, frames, mask):
        steps = self.layer(frames)
        spread = torch.stack([row[real].std(dim=0) for row, real in zip(frames, mask, strict=True)])
        return steps, steps[:, -1] + spread


class IgnoresMask(NoPair):
    """Takes its summary from the last frame, whether it is real or a repeat."""

    def forward(self, frames, mask):
        steps = self.layer(frames)
        return steps, steps[:, -1]


class LooksAhead(NoPair):
    """Adds the mean of all frames to the state after each."""

    def forward(self, frames, mask):
        steps = self.layer(frames) + frames.mean(dim=1, keepdim=True)
        return steps, (steps * mask[..., None]).sum(dim=1) * 0


class Colours(nn.Module):
    """A sound encoder: colours of a grid through frozen weights, and a linear layer."""

    grid = 2

    def __init__(self, width):
        super().__init__()
        self.mix = nn.Linear(3 * self.grid**2, 6).requires_grad_(False)
        self.projection = nn.Linear(6, width)

    @property
    def cache_key(self):
        return content_key(self.mix.state_dict(), grid=self.grid)

    def pixels(self, images):
        return images.float() / 255

    def frozen(self, pixels):
        with torch.no_grad():
            return self.mix(functional.adaptive_avg_pool2d(pixels, self.grid).flatten(1))

    def forward(self, features):
        return self.projection(features)


class GridOptions(Options):
    grid: int = 2


class ForgetfulKey(Colours):
    cache_key = "colours"


class ForgetsOption(Colours):
    def __init__(self, width, grid):
        super().__init__(width)
        self.grid = grid
        self.mix = nn.Linear(6, 6).requires_grad_(False)

    @property
    def cache_key(self):
        return content_key(self.mix.state_dict())

    def frozen(self, pixels):
        pooled = functional.adaptive_avg_pool2d(pixels, self.grid).flatten(2)
        return self.mix(torch.cat([pooled.amax(-1), pooled.amin(-1)], dim=1))


class RestlessKey(Colours):
    @property
    def cache_key(self):
        return content_key(self.state_dict())


class Contrasted(Colours):
    def frozen(self, pixels):
        return super().frozen(pixels - pixels.mean(dim=0))


class DropsOut(Colours):
    def frozen(self, pixels):
        return functional.dropout(super().frozen(pixels), training=self.training)


class KeepsGradient(Colours):
    def frozen(self, pixels):
        return super().frozen(pixels) * self.projection.bias.mean()


class KeptNowhere(Colours):
    cache_key = None


class Hurries(Colours):
    """Many images are encoded by a network that computes something else."""

    exact = True

    @contextmanager
    def encoding_many(self):
        self.exact = False
        yield
        self.exact = True

    def frozen(self, pixels):
        return super().frozen(pixels if self.exact else pixels[..., ::2, ::2] ** 2)


class Lingers(Hurries):
    """What is faster stays after it was wanted."""

    @contextmanager
    def encoding_many(self):
        yield
        self.exact = False


class ReadsPadding(TinyText):
    def forward(self, features, mask):
        return super().forward(features, torch.ones_like(mask))


class FitsItself(TinyText):
    """Pad texts to the longest of them."""

    def tokenize(self, texts):
        batch = super().tokenize(texts)
        longest = int(batch.mask.sum(axis=1).max())
        return replace(batch, ids=batch.ids[:, :longest], mask=batch.mask[:, :longest])


class Remembers(GruDecoder):
    seen = None

    def loss(self, narrative, ids, mask):
        self.seen = ids
        return super().loss(narrative, ids, mask)

    def generate(self, narrative, decoding):
        return super().generate(narrative, decoding) if self.seen is None else self.seen


class Rambles(GruDecoder):
    def generate(self, narrative, decoding):
        ids = super().generate(narrative, decoding)
        ids[:, 0], ids[:, 1] = self.vocabulary.eos, 7
        return ids


class Invents(GruDecoder):
    def generate(self, narrative, decoding):
        return super().generate(narrative, decoding) + len(self.vocabulary)


class SamplesGreedily(GruDecoder):
    """Ignores the decodings where it generates several texts at once."""

    def generate_samples(self, narrative, decodings):
        return torch.stack([self.generate(narrative, Decoding())] * len(decodings), dim=1)


class CountsPadding(GruDecoder):
    def loss(self, narrative, ids, mask):
        return super().loss(narrative, ids, torch.ones_like(mask))


class SmoothsAlways(GruDecoder):
    def loss(self, narrative, ids, mask):
        return head_loss(self._states(narrative, ids), self.head, ids, mask, objective=self.objective)


class SmoothsNever(GruDecoder):
    def loss(self, narrative, ids, mask):
        return head_loss(self._states(narrative, ids), self.head, ids, mask, objective=PLAIN)


class Unbounded(Deconv):
    def forward(self, narrative):
        return 3 * super().forward(narrative) - 1


class LovesGrey(Deconv):
    def loss(self, prediction, target):
        return super().loss(prediction, torch.full_like(target, 0.5))


class Indifferent(Deconv):
    def loss(self, prediction, target):
        return 1 + 1e-9 * super().loss(prediction, target)


class Paints(Deconv):
    def forward(self, narrative):
        image = super().forward(narrative)
        return (image + 0.1 * torch.rand_like(image)).clamp(0, 1)


class IgnoresSeed(TextPainter):
    def generate(self, narrative, text, seed):
        return super().generate(narrative, text, 0)


class Restless(TextPainter):
    """Samples from torch's global random numbers."""

    def _noise(self, narrative, seed):
        return torch.randn(len(narrative.summary), NOISE)


class Recalls(TextPainter):
    """Remembers the target of the last loss."""

    seen = 0.0

    def loss(self, narrative, text, target):
        self.seen = target.mean()
        return super().loss(narrative, text, target)

    def generate(self, narrative, text, seed):
        return (super().generate(narrative, text, seed) + self.seen) / 2


class SharesNoise(TextPainter):
    """One generator for the whole batch."""

    def _noise(self, narrative, seed):
        return torch.randn(len(narrative.summary), NOISE, generator=torch.Generator().manual_seed(seed))


class Reseeds(TextPainter):
    def generate(self, narrative, text, seed):
        torch.manual_seed(seed)
        return super().generate(narrative, text, seed)


class NeedsWords(TextPainter):
    def paint(self, narrative, text, noise):
        words = torch.tensor([len(each.split()) for each in text.texts])
        return super().paint(narrative, text, noise / words[:, None])


class Wide(TextPainter):
    def generate(self, narrative, text, seed):
        return super().generate(narrative, text, seed)[..., 1:]


class Shuffled(StoryWorld):
    orders = itertools.cycle([False, True])

    def read(self, source):
        yield from sorted(super().read(source), key=lambda story: story.id, reverse=next(self.orders))


class Twins(StoryWorld):
    def read(self, source):
        yield from (replace(story, id="twin") for story in super().read(source))


class Boasts(StoryWorld):
    def survey(self, source):
        return Survey(stories=99)


class Pictureless(StoryWorld):
    def read(self, source):
        yield Story(id="one", frames=(Frame(image=b"no picture", text="a"), Frame(image=None, text="b")))


class Relative(MeanSquaredError):
    def measure(self, samples):
        rows = super().measure(samples)
        return rows / rows.max()


class Misnamed(MeanSquaredError):
    pass


class UpsideDown(MeanSquaredError):
    better = "higher"

    def combine(self, statistics):
        return {"upsidedown": float(statistics.mean())}


class NoNumber(MeanSquaredError):
    def measure(self, samples):
        return np.full((len(samples), 1), np.nan)


class Blackens(MeanSquaredError):
    def measure(self, samples):
        rows = super().measure(samples)
        samples[0].predicted_image[:] = 0
        return rows

    def combine(self, statistics):
        return {"blackens": float(statistics.mean())}


class Sorts(MeanSquaredError):
    def combine(self, statistics):
        statistics.sort(axis=0)
        return {"sorts": float(statistics.mean())}


class Forgets(MeanSquaredError):
    def read_references(self, references):
        references.clear()

    def combine(self, statistics):
        return {"forgets": float(statistics.mean())}


class Peeks(MeanSquaredError):
    reads_images = False

    def measure(self, samples):
        return np.array([[float(sample.predicted_image.size)] for sample in samples])

    def combine(self, statistics):
        return {"peeks": float(statistics.mean())}


PARTS = {
    "fusion": (WiderFusion, ForgottenLayer, Neighbourly, Unsaved, SingleOnly, Clumsy),
    "temporal": (NoPair, Divides, IgnoresMask, LooksAhead),
    "visual": (
        *(ForgetfulKey, ForgetsOption, RestlessKey, Contrasted, DropsOut, KeepsGradient, KeptNowhere),
        *(Hurries, Lingers, Colours),
    ),
    "text": (ReadsPadding, FitsItself),
    "text_decoder": (Remembers, Rambles, Invents, SamplesGreedily, CountsPadding, SmoothsAlways, SmoothsNever),
    "image_decoder": (
        *(Unbounded, LovesGrey, Indifferent, Paints),
        *(IgnoresSeed, Restless, Recalls, SharesNoise, Reseeds, NeedsWords, Wide),
    ),
    "dataset": (Shuffled, Twins, Boasts, Pictureless),
    "metrics": (Relative, Misnamed, UpsideDown, NoNumber, Blackens, Sorts, Forgets, Peeks),
}


def build_wide(kind):
    return lambda options, context: kind(context.width)


def build_grid(kind):
    return lambda options, context: kind(context.width, options.grid)


def build_plain(kind):
    return lambda options, context: kind(options, context)


def build_writer(kind):
    return lambda options, context: kind(GruOptions(length=12), context)


def build_painter(kind):
    chosen = None if issubclass(kind, TextPainter) else DeconvOptions(channels=16)
    return lambda options, context: kind(chosen or options, context)


def build_dataset(kind):
    return lambda options: kind(StoryWorldOptions(stories=3))


def build_metric(kind):
    return lambda options: kind()


BUILDERS = {
    "fusion": build_plain,
    "temporal": build_wide,
    "visual": build_wide,
    "text": build_plain,
    "text_decoder": build_writer,
    "image_decoder": build_painter,
    "dataset": build_dataset,
    "metrics": build_metric,
}
OPTIONS = {ForgetsOption: GridOptions, ReadsPadding: TinyTextOptions, FitsItself: TinyTextOptions}
for section, kinds in PARTS.items():
    for kind in kinds:
        maker = build_grid if kind is ForgetsOption else BUILDERS[section]
        globals()[f"build_{kind.__name__}"] = maker(kind)
