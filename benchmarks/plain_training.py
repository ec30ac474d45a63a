"""The reference design and two training loops in plain PyTorch, the baselines of `train.py`.

ResNet-50 and DistilBERT of torchvision and transformers, random weights, to 256 dimensions; a linear fusion, a GRU, a
GRU text decoder with the library's cross-entropy over the whole vocabulary, transposed convolutions with the mean
squared error, and CLIP's loss. A test checks that its losses and gradients equal those of vsr.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wordpiece
from accelerate import Accelerator
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet50
from transformers import DistilBertConfig, DistilBertModel

from vsr_plugins.datasets import StoryWorldOptions
from vsr_plugins.datasets.storyworld.reader import build

WIDTH, WORDS, TOKENS, SIZE, CONTEXT = 256, 30_522, 32, 224, 4
PAD, BOS = 0, 101
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


class PlainStory(nn.Module):
    """The reference design: the losses of the fifth image and text, from four."""

    def __init__(self, *, frozen_layers: int) -> None:
        super().__init__()
        self.resnet = resnet50(weights=None)
        self.resnet.fc = nn.Identity()
        self.bert = DistilBertModel(DistilBertConfig())
        self.resnet.requires_grad_(False)
        for frozen in (self.bert.embeddings, *self.bert.transformer.layer[:frozen_layers]):
            frozen.requires_grad_(False)
        self.see, self.read = nn.Linear(2048, WIDTH), nn.Linear(768, WIDTH)
        self.fuse = nn.Linear(2 * WIDTH, WIDTH)
        self.remember = nn.GRU(WIDTH, WIDTH, batch_first=True)
        self.embed, self.start = nn.Embedding(WORDS, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.write, self.head = nn.GRU(WIDTH, WIDTH, batch_first=True), nn.Linear(WIDTH, WORDS)
        self.first = nn.Linear(WIDTH, 256 * 7 * 7)
        layers: list[nn.Module] = [nn.GroupNorm(8, 256), nn.ReLU()]
        for wide, narrow in ((256, 128), (128, 64), (64, 32), (32, 16)):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1, bias=False)]
            layers += [nn.GroupNorm(8, narrow), nn.ReLU()]
        self.draw = nn.Sequential(*layers, nn.ConvTranspose2d(16, 3, 4, stride=2, padding=1), nn.Sigmoid())
        self.temperature = nn.Parameter(torch.tensor(1 / 0.07).log())

    def train(self, mode: bool = True) -> PlainStory:
        super().train(mode)
        self.resnet.eval()
        return self

    def encode(self, images: Tensor, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return pooled features (N, 2048) and [CLS] states (N, 768) of images (N, 3, H, W) and texts (N, L)."""
        pooled: Tensor = self.resnet((images - MEAN) / STD)
        return pooled, self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]

    def losses(self, pooled: Tensor, states: Tensor, answer: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the losses from the encodings of B stories' contexts, their target ids (B, T) and images."""
        image, text = self.see(pooled), self.read(states)  # (B*4, D)
        similarity = self.temperature.exp().clamp(max=100) * functional.normalize(image) @ functional.normalize(text).T
        pairs = torch.arange(len(similarity), device=similarity.device)
        alignment = (functional.cross_entropy(similarity, pairs) + functional.cross_entropy(similarity.T, pairs)) / 2
        frames = self.fuse(torch.cat([image, text], dim=-1)).view(len(answer), CONTEXT, WIDTH)
        summary = self.remember(frames)[0][:, -1]
        before = functional.pad(answer[:, :-1], (1, 0), value=BOS)
        written = self.write(self.embed(before), torch.tanh(self.start(summary))[None])[0]
        text_loss = functional.cross_entropy(self.head(written).flatten(0, 1), answer.flatten(), ignore_index=PAD)
        image_loss = functional.mse_loss(self.draw(self.first(summary).view(-1, 256, 7, 7)), target)
        return {
            "loss": text_loss + image_loss + 0.5 * alignment,
            "text": text_loss,
            "image": image_loss,
            "alignment": alignment,
        }


def open_picture(image: bytes) -> Tensor:
    """Decode an image and stretch it to (3, 224, 224), in [0, 1]."""
    with Image.open(io.BytesIO(image)) as opened:
        pixels = np.asarray(opened.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


def context_ids(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Return [CLS] … [SEP], cut and padded, (N, 32)."""
    end = tokenizer.token_to_id("[SEP]")
    return _padded([[BOS, *ids[: TOKENS - 2], end] for ids in _encoded(tokenizer, texts)])


def target_ids(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Return … [SEP], cut and padded, (N, 32)."""
    end = tokenizer.token_to_id("[SEP]")
    return _padded([[*ids, end][:TOKENS] for ids in _encoded(tokenizer, texts)])


def _encoded(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [item.ids for item in tokenizer.encode_batch(texts, add_special_tokens=False)]


def _padded(rows: list[list[int]]) -> Tensor:
    return torch.tensor([row + [PAD] * (TOKENS - len(row)) for row in rows])


def write_tokenizer(path: Path) -> None:
    """Write a WordPiece tokenizer of BERT's size, whose words are storyworld's and made-up ones."""
    small = StoryWorldOptions(stories=64, width=64, height=64)  # images are drawn, too, and do not matter here
    texts = [frame.text for story in build(small).read(None) for frame in story.frames[: CONTEXT + 1]]
    words = sorted({word for text in texts for word in _words(text) if len(word) > 1})
    wordpiece.write_tokenizer(path, size=WORDS, words=words)


def _words(text: str) -> list[str]:
    return "".join(letter if letter.isalpha() else " " for letter in text.lower()).split()


def pairs(count: int) -> list[list[tuple[bytes, str]]]:
    """Generate stories: the first five (JPEG, text) pairs of each."""
    stories = build(StoryWorldOptions(stories=count, width=575, height=240)).read(None)
    return [[(bytes(frame.image), frame.text) for frame in story.frames[: CONTEXT + 1]] for story in stories]


def plain(given: argparse.Namespace) -> dict[str, float]:
    """(a) Everything anew for every story."""
    model = PlainStory(frozen_layers=6 if given.frozen == "all" else 4).train()
    tokenizer = Tokenizer.from_file(str(given.folder / "tokenizer.json"))
    stories = pairs(given.baseline_stories)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def epoch() -> None:
        for start in range(0, len(stories), given.batch_size):
            batch = stories[start : start + given.batch_size]
            images = torch.stack([torch.stack([open_picture(image) for image, _ in story]) for story in batch])
            ids = context_ids(tokenizer, [text for story in batch for _, text in story[:4]])
            answer = target_ids(tokenizer, [story[4][1] for story in batch])
            encoded = model.encode(images[:, :4].flatten(0, 1), ids, (ids != PAD).long())
            losses = model.losses(*encoded, answer, images[:, 4])
            optimizer.zero_grad()
            losses["loss"].backward()
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimizer.step()

    return {"rate": best_rate(epoch, given)}


def loader(given: argparse.Namespace) -> dict[str, float]:
    """(b) Two workers decode; frozen halves run under no_grad; accelerate does the rest."""
    model = PlainStory(frozen_layers=6 if given.frozen == "all" else 4).train()
    tokenizer = Tokenizer.from_file(str(given.folder / "tokenizer.json"))

    class Stories(Dataset[Any]):
        stories = pairs(given.baseline_stories)

        def __len__(self) -> int:
            return len(self.stories)

        def __getitem__(self, at: int) -> Any:
            images = torch.stack([open_picture(image) for image, _ in self.stories[at]])
            texts = [text for _, text in self.stories[at]]
            return images, context_ids(tokenizer, texts[:4]), target_ids(tokenizer, texts[4:])[0]

    accelerator = Accelerator(cpu=True)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    batches = DataLoader(Stories(), batch_size=given.batch_size, num_workers=2, shuffle=True, persistent_workers=True)
    model, optimizer, batches = accelerator.prepare(model, torch.optim.AdamW(trained, lr=1e-4), batches)

    def epoch() -> None:
        for images, ids, answer in batches:
            ids = ids.flatten(0, 1)
            with torch.set_grad_enabled(given.frozen != "all"):
                encoded = model.encode(images[:, :4].flatten(0, 1), ids, (ids != PAD).long())
            losses = model.losses(*encoded, answer, images[:, 4])
            optimizer.zero_grad()
            accelerator.backward(losses["loss"])
            accelerator.clip_grad_norm_(trained, 1.0)
            optimizer.step()

    return {"rate": best_rate(epoch, given)}


def best_rate(epoch: Callable[[], None], given: argparse.Namespace) -> float:
    """Return stories per second of the best round, after one round to warm up."""
    epoch()
    return given.baseline_stories / min(timed(epoch) for _ in range(given.rounds))


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
