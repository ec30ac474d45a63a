"""Frozen features of prepared data: found in the cache, or computed once and kept there.

An encoder's `cache_key` stands for all that `frozen` depends on, a digest for the picture or text; what else is in the
prepared folder does not matter. A third party's encoder needs no code for this but `frozen` and `cache_key`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..api import TextEncoder, TokenBatch, VisualEncoder
from ..config import FeatureOptions
from ..console import progress, say
from .chunks import Share
from .company import ALONE, Company
from .feature_cache import FEATURES, FeatureRows, FeatureSet, cache_folder
from .prepared import Frames, Prepared, Windows
from .shards import ChosenRows, Rows, folder_bytes
from .splits import SPLITS

BATCH = 32
"""Rows that the frozen half sees at a time."""
WHAT = {"visual": "images", "text": "texts"}


@dataclass(frozen=True)
class Features:
    """The frozen features of a set of frames, or the means to compute them batch by batch."""

    visual: Rows | None
    """(images, *F); None where they are not kept, so that they are computed for each batch."""
    text: Rows | None
    """(texts, *F); None likewise."""
    tokens: TokenBatch
    """Every text's tokens, (texts, L)."""


def frozen_features(
    prepared: Prepared,
    visual: VisualEncoder,
    text: TextEncoder,
    *,
    device: torch.device,
    options: FeatureOptions,
    splits: Sequence[str] = SPLITS,
    company: Company = ALONE,
) -> Features:
    """Give an encoder pair's features of the windows of some splits, computing and keeping what is not there yet."""
    windows = [prepared.windows(split) for split in splits]
    kept_visual = keep_visual(prepared, visual, windows, device=device, options=options, company=company)
    kept_text = keep_text(prepared, text, windows, device=device, options=options, company=company)
    return Features(visual=kept_visual, text=kept_text, tokens=text.tokenize(prepared.frames.texts))


def keep_visual(
    prepared: Prepared,
    encoder: VisualEncoder,
    windows: Sequence[Windows],
    *,
    device: torch.device,
    options: FeatureOptions,
    company: Company = ALONE,
) -> Rows | None:
    """Give the features of all images of some windows by the images' rows; None where they are not to be kept."""
    if encoder.cache_key is None:
        return None
    frames = prepared.frames
    compute = visual_rows(frames, encoder, device)

    def make(rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], None]:
        return np.concatenate([to_array(compute(part)) for part in _parts(rows)]), None

    used = _used([each.image_rows for each in windows])
    return _kept(
        "visual", encoder.cache_key, used, prepared.image_facts.digest[used], len(frames.images), make, options, company
    )


def keep_text(
    prepared: Prepared,
    encoder: TextEncoder,
    windows: Sequence[Windows],
    *,
    device: torch.device,
    options: FeatureOptions,
    company: Company = ALONE,
) -> Rows | None:
    """Give the features of all texts of some windows by the texts' rows; None where they are not to be kept.

    Of features (N, L, *F), one vector or more a token, only those of real tokens are kept, and the others are zeros.
    """
    if encoder.cache_key is None:
        return None
    texts = prepared.frames.texts

    def make(rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        tokens = encoder.tokenize([texts[row] for row in rows.tolist()])
        compute = text_rows(tokens, encoder, device)
        lengths: NDArray[np.int64] = tokens.mask.sum(axis=1)
        # Texts of like length meet, so that an encoder that cuts padding off has little to compute.
        order = np.argsort(lengths, kind="stable")
        found = np.concatenate([to_array(compute(part)) for part in _parts(order)])
        features = np.empty_like(found)
        features[order] = found
        if features.ndim < 3 or features.shape[1] != tokens.mask.shape[1]:
            return features, None
        return features, lengths

    used = _used([each.text_rows for each in windows])
    digests = np.frombuffer(
        b"".join(hashlib.sha256(texts[row].encode()).digest()[:16] for row in used.tolist()), np.uint8
    ).reshape(-1, 16)
    return _kept("text", encoder.cache_key, used, digests, len(texts), make, options, company)


RowsOf = Callable[[NDArray[np.int64]], torch.Tensor]
Make = Callable[[NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.int64] | None]]
"""Gives the features of some rows (n, *F), and where they are of tokens, how many of each row are real."""


def visual_rows(frames: Frames, encoder: VisualEncoder, device: torch.device) -> RowsOf:
    """Make the function that computes features for some images' rows."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        return encoder.frozen(encoder.pixels(image_tensor(frames.images.gather(rows), device)))

    return compute


def text_rows(tokens: TokenBatch, encoder: TextEncoder, device: torch.device) -> RowsOf:
    """Make the function that computes features for some texts' rows."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        ids = torch.from_numpy(tokens.ids[rows]).to(device)
        mask = torch.from_numpy(tokens.mask[rows]).to(device)
        return encoder.frozen(ids, mask)

    return compute


def image_tensor(images: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Turn images (..., H, W, 3) into a tensor (..., 3, H, W) uint8."""
    return torch.from_numpy(images).to(device).movedim(-1, -3)


def to_array(features: torch.Tensor) -> NDArray[np.float32]:
    """Bring features to the host in single precision."""
    array: NDArray[np.float32] = features.float().cpu().numpy()
    return array


def _used(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([part.reshape(-1) for part in rows])) if rows else np.empty(0, np.int64)


def _parts(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _kept(
    kind: Literal["visual", "text"],
    key: str,
    used: NDArray[np.int64],
    digests: NDArray[np.uint8],
    count: int,
    make: Make,
    options: FeatureOptions,
    company: Company,
) -> Rows | None:
    if not len(used):
        return None
    folder = cache_folder() / FEATURES / f"{kind}-{key}-{options.precision}"
    features = FeatureSet.known(folder, options.precision)
    if features is None:
        first, lengths = make(used[:1])  # what a row looks like, only the encoder knows
        shape, tokens = first.shape[1:], lengths is not None
        features = FeatureSet(folder, row_shape=shape, precision=options.precision, tokens=tokens)
    rows, at = features.find(digests)
    if len(missing := np.flatnonzero(at < 0)):
        fits = _fits(features, kind, len(missing), options)
        company.wait()  # until all have seen the same things missing
        if not fits:
            return None
        features.describe(kind=kind, key=key)
        _compute(features, kind, used[missing], digests[missing], make, company.local_share)
        company.wait()
        rows, at = features.find(digests)
        assert at.min() >= 0, "a share of the features is missing"
    return _by_row(rows, at, used, count)


def _by_row(rows: FeatureRows, at: NDArray[np.int64], used: NDArray[np.int64], count: int) -> ChosenRows:
    chosen = np.full(count, -1, np.int64)
    chosen[used] = at
    return ChosenRows(rows, chosen)


def _fits(features: FeatureSet, kind: str, count: int, options: FeatureOptions) -> bool:
    """Say what is about to be written, and whether the limit allows it."""
    size, limit = features.row_bytes * count, options.limit * 2**30
    there = folder_bytes(cache_folder() / FEATURES)
    if there + size <= limit:
        say(f"frozen {kind} features: {count} {WHAT[kind]}, at most {size / 2**20:.0f} MiB, to {features.folder}")
        return True
    say(
        f"frozen {kind} features: {size / 2**20:.0f} MiB more than the {there / 2**20:.0f} MiB in {cache_folder()} "
        f"would pass the limit of {options.limit:g} GiB, so they are computed anew for each batch; raise "
        "--set features.limit=GiB, halve them with --set features.precision=half, or make room with 'vsr cache prune'"
    )
    return False


def _compute(
    features: FeatureSet,
    kind: str,
    rows: NDArray[np.int64],
    digests: NDArray[np.uint8],
    make: Make,
    share: Share,
) -> None:
    size = features.rows_a_shard
    with progress() as bar:
        starts = [start for number, start in enumerate(range(0, len(rows), size)) if number in share]
        task = bar.add_task(f"encoding {WHAT[kind]}", total=sum(min(size, len(rows) - start) for start in starts))
        for start in starts:
            made = [make(part) for part in _steps(rows[start : start + size])]
            found = np.concatenate([part for part, _ in made])
            bar.advance(task, len(found))
            here = digests[start : start + size]
            if not features.tokens:
                features.add(here, found, None)
                continue
            lengths = np.concatenate([length for _, length in made if length is not None])
            real = np.arange(features.row_shape[0]) < lengths[:, None]  # (n, L)
            features.add(here, found[real], lengths)


def _steps(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + 8 * BATCH] for start in range(0, len(rows), 8 * BATCH)]
