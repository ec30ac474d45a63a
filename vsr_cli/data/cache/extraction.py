"""Frozen features of prepared data: read from the cache, or computed once and cached.

A feature is cached under the encoder's `cache_key`, a digest of all that `frozen` depends on, and the frame's digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ...api import TextEncoder, TokenBatch, VisualEncoder
from ...config.schema import FeatureOptions
from ...console import say
from ...files.links import refuse_links
from ...files.locks import beside_others_in
from ...progress import progress
from ...system_errors import cache_folder
from ..preparation.chunks import Share
from ..preparation.workers import ALONE, WorkerGroup
from ..prepared import Prepared
from ..prepared_types import Frames, Windows
from ..shards import ChosenRows, Rows, folder_bytes
from ..splits import SPLITS
from .feature_set import FEATURES, FeatureRows, FeatureSet

WHOLE = Share()
REMOVING = 60.0
"""Seconds to wait for another process that removes features, such as 'vsr cache prune'."""
BATCH = 32
"""Images, texts or windows per batch wherever nothing is trained."""
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
    company: WorkerGroup = ALONE,
) -> Features:
    """Return an encoder pair's features of the windows of some splits, computing and keeping what is not there yet."""
    windows = [prepared.windows(split) for split in splits]
    return Features(
        visual=keep(wanted_visual(prepared, visual, windows, device=device), options, company=company),
        text=keep(wanted_text(prepared, text, windows, device=device), options, company=company),
        tokens=text.tokenize(prepared.frames.texts),
    )


def warn_truncated_texts(tokens: TokenBatch) -> None:
    """Report how many texts are truncated by the text encoder; for the commands that choose the encoder."""
    if tokens.cut is not None and tokens.cut.any():
        say(
            f"the text encoder reads {tokens.mask.shape[1]} tokens of a text: {int(tokens.cut.sum())} of "
            f"{len(tokens.cut)} texts are longer and truncated there; --set text.length=N reads more"
        )


Make = Callable[[NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.int64] | None]]
"""Returns the features of some rows (n, *F), and for features of tokens how many of each row are real."""


@dataclass(frozen=True)
class Wanted:
    """The features that some windows need of one encoder, and how one of them is made."""

    kind: Literal["visual", "text"]
    key: str
    """The encoder's cache key."""
    rows: NDArray[np.int64]
    """(n,) which of the distinct images or texts."""
    digests: NDArray[np.uint8]
    """(n, 16) of these."""
    count: int
    """How many distinct images or texts there are in all."""
    make: Make

    def look_up(self, options: FeatureOptions) -> tuple[FeatureSet | None, FeatureRows | None, NDArray[np.int64]]:
        """Return the set in the cache, its rows, and the place of each wanted one among them, -1: not there."""
        folder = self._folder(options)
        with self.in_use(options) if folder.is_dir() else nullcontext():
            features = FeatureSet.known(folder, options.precision)
            if features is None:
                return None, None, np.full(len(self.rows), -1, np.int64)
            return features, *features.find(self.digests)

    @contextmanager
    def in_use(self, options: FeatureOptions) -> Iterator[None]:
        """Make the set's folder if it is missing, and keep others from removing it. Raises VsrError for a link in it.

        Rows that were found in it stay readable after the block, whatever happens to their files.
        """
        folder = self._folder(options)
        refuse_links(cache_folder(), [FEATURES], below=False)
        refuse_links(folder.parent, [folder.name])
        busy = f"{folder}: another process is removing these features; run the command again when it is done"
        with beside_others_in(folder, busy=busy, patience=REMOVING):
            yield

    def set_like(self, features: NDArray[np.float32], *, tokens: bool, options: FeatureOptions) -> FeatureSet:
        """Return the set that such features (n, *F) will be kept in. It need not be there yet."""
        shape, precision = features.shape[1:], options.precision
        return FeatureSet(self._folder(options), row_shape=shape, precision=precision, tokens=tokens)

    def _folder(self, options: FeatureOptions) -> Path:
        return cache_folder() / FEATURES / f"{self.kind}-{self.key}-{options.precision}"


def wanted_visual(
    prepared: Prepared, encoder: VisualEncoder, windows: Sequence[Windows], *, device: torch.device
) -> Wanted | None:
    """Return what all images of some windows need; None where nothing is frozen."""
    if encoder.cache_key is None:
        return None
    frames = prepared.frames
    compute = visual_rows(frames, encoder, device)

    def make(rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], None]:
        return np.concatenate([to_array(compute(part)) for part in _parts(rows)]), None

    used = _used([each.image_rows for each in windows])
    return Wanted("visual", encoder.cache_key, used, prepared.image_facts.digest[used], len(frames.images), make)


def wanted_text(
    prepared: Prepared, encoder: TextEncoder, windows: Sequence[Windows], *, device: torch.device
) -> Wanted | None:
    """Return what all texts of some windows need; None where nothing is frozen.

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
        of_tokens = features.ndim >= 3 and features.shape[1] == tokens.mask.shape[1]
        return features, lengths if of_tokens else None

    used = _used([each.text_rows for each in windows])
    digests = b"".join(hashlib.sha256(texts[row].encode()).digest()[:16] for row in used.tolist())
    digest_rows = np.frombuffer(digests, np.uint8).reshape(-1, 16)
    return Wanted("text", encoder.cache_key, used, digest_rows, len(texts), make)


def keep(wanted: Wanted | None, options: FeatureOptions, *, company: WorkerGroup = ALONE) -> Rows | None:
    """Return wanted features by the rows of their images or texts, computing and keeping what is missing.

    None where nothing is wanted or the cache's limit does not allow it: then they are computed for each batch.
    """
    if wanted is None or not len(wanted.rows):
        return None
    features, rows, at = wanted.look_up(options)
    if features is None:
        first, lengths = wanted.make(wanted.rows[:1])  # what a row looks like, only the encoder knows
        features = wanted.set_like(first, tokens=lengths is not None, options=options)
    if len(missing := np.flatnonzero(at < 0)):
        allowed = _announce(features, wanted.kind, len(missing), options)
        company.wait()  # until all have seen the same things missing
        if not allowed:
            return None
        with wanted.in_use(options):
            rows, at = _complete(features, wanted, missing, company)
    assert rows is not None
    chosen = np.full(wanted.count, -1, np.int64)
    chosen[wanted.rows] = at
    return ChosenRows(rows, chosen)


def _complete(
    features: FeatureSet, wanted: Wanted, missing: NDArray[np.int64], company: WorkerGroup
) -> tuple[FeatureRows, NDArray[np.int64]]:
    """Compute and store what is missing, and return the rows of the set and where among them each wanted one is."""
    features.describe(kind=wanted.kind, key=wanted.key)
    _compute(features, wanted, missing, company.local_share)
    company.wait()
    rows, at = features.find(wanted.digests)
    while len(missing := np.flatnonzero(at < 0)):  # removed by somebody between looking and computing
        _compute(features, wanted, missing, WHOLE)
        rows, at = features.find(wanted.digests)
    return rows, at


RowsOf = Callable[[NDArray[np.int64]], torch.Tensor]


def visual_rows(frames: Frames, encoder: VisualEncoder, device: torch.device) -> RowsOf:
    """Return the function that computes features for rows of images."""

    @torch.no_grad()
    def compute(rows: NDArray[np.int64]) -> torch.Tensor:
        return encoder.frozen(encoder.pixels(image_tensor(frames.images.gather(rows), device)))

    return compute


def text_rows(tokens: TokenBatch, encoder: TextEncoder, device: torch.device) -> RowsOf:
    """Return the function that computes features for rows of texts."""

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


def room_for(size: int, options: FeatureOptions) -> bool:
    """Whether the cache may grow by so many bytes."""
    return folder_bytes(cache_folder() / FEATURES) + size <= options.limit * 2**30


def _announce(features: FeatureSet, kind: str, count: int, options: FeatureOptions) -> bool:
    """Log what is about to be written, and return whether the limit allows it."""
    size = features.row_bytes * count
    if room_for(size, options):
        say(f"frozen {kind} features: {count} {WHAT[kind]}, at most {size / 2**20:.0f} MiB, to {features.folder}")
        return True
    say(
        f"frozen {kind} features: {size / 2**20:.0f} MiB more in {cache_folder()} would pass the limit of "
        f"{options.limit:g} GiB, so they are computed anew for each batch; raise --set features.limit=GiB, "
        "halve them with --set features.precision=half, or make room with 'vsr cache prune'"
    )
    return False


def _compute(features: FeatureSet, wanted: Wanted, missing: NDArray[np.int64], share: Share) -> None:
    size = features.rows_per_shard
    rows, digests, what = wanted.rows[missing], wanted.digests[missing], WHAT[wanted.kind]
    starts = [start for number, start in enumerate(range(0, len(rows), size)) if number in share]
    with progress() as bar:
        task = bar.add_task(f"encoding {what}", total=sum(min(size, len(rows) - start) for start in starts))
        for start in starts:
            made = []
            for part in _steps(rows[start : start + size]):
                made.append(wanted.make(part))
                bar.advance(task, len(part))
            found = np.concatenate([part for part, _ in made])
            here = digests[start : start + size]
            if not features.tokens:
                features.add(here, found, None)
                continue
            lengths = np.concatenate([length for _, length in made if length is not None])
            real = np.arange(features.row_shape[0]) < lengths[:, None]  # (n, L)
            features.add(here, found[real], lengths)


def _steps(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + 8 * BATCH] for start in range(0, len(rows), 8 * BATCH)]
