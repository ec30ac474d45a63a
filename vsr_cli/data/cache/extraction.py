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
from ...files.locks import shared_lock
from ...progress import Rate, progress
from ...quantities import counted, size
from ...system_errors import cache_folder
from ..preparation.chunks import Share
from ..preparation.workers import SINGLE_PROCESS, WorkerGroup
from ..prepared import Prepared
from ..prepared_types import Windows
from ..scratch import tokenized
from ..shards import ChosenRows, Rows, folder_bytes
from ..splits import SPLITS
from .encoding import Advance, computing_in, encode, encoding_many, text_rows, visual_rows, warn_slow
from .feature_set import FEATURES, FeatureRows, FeatureSet
from .frozen_weights import FROZEN

REMOVING = 60.0
"""Seconds to wait for another process that removes features, such as 'vsr cache prune'."""
WHAT = {"visual": "image", "text": "text"}


@dataclass(frozen=True)
class Features:
    """The frozen features of a set of frames, or the means to compute them batch by batch."""

    visual: Rows | None
    """(images, *F); None if they are not cached but computed for each batch."""
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
    workers: WorkerGroup = SINGLE_PROCESS,
) -> Features:
    """Return the features of the windows of some splits; compute and cache those that are missing."""
    windows = [prepared.windows(split) for split in splits]
    return Features(
        visual=load_or_compute(visual_request(prepared, visual, windows, device=device), options, workers=workers),
        text=load_or_compute(text_request(prepared, text, windows, device=device), options, workers=workers),
        tokens=tokenized(text.tokenize, prepared.frames.texts),
    )


def warn_truncated_texts(tokens: TokenBatch) -> None:
    """Report how many texts are truncated by the text encoder; for the commands that choose the encoder."""
    if tokens.cut is not None and tokens.cut.any():
        say(
            f"the text encoder reads {tokens.mask.shape[1]} tokens of a text: {int(tokens.cut.sum())} of "
            f"{len(tokens.cut)} texts are longer and truncated there; --set text.length=N reads more"
        )


Made = tuple[NDArray[np.float32], NDArray[np.int64] | None]
Make = Callable[[NDArray[np.int64], Advance], Made]
"""Returns the features of some rows (n, *F), and for features of tokens the number of real ones in each row."""


@dataclass(frozen=True)
class FeatureRequest:
    """The features of one encoder that some windows need, and the function that computes them."""

    kind: Literal["visual", "text"]
    key: str
    """The encoder's cache key."""
    rows: NDArray[np.int64]
    """(n,) rows of the distinct images or texts."""
    digests: NDArray[np.uint8]
    """(n, 16), of these rows."""
    count: int
    """The number of all distinct images or texts."""
    encoder: VisualEncoder | TextEncoder
    device: torch.device
    make: Make

    @contextmanager
    def encoding(self, count: int, options: FeatureOptions) -> Iterator[None]:
        """Let `make` compute in the chosen precision, and as is fastest for so many rows in all."""
        with computing_in(options.compute, self.device), encoding_many(self.encoder, count):
            yield

    def compute(self, rows: NDArray[np.int64], options: FeatureOptions, advance: Advance = lambda count: None) -> Made:
        """Return the features of some rows, which are all that there are to encode."""
        with self.encoding(len(rows), options):
            return self.make(rows, advance)

    def look_up(self, options: FeatureOptions) -> tuple[FeatureSet | None, FeatureRows | None, NDArray[np.int64]]:
        """Return the set in the cache, its rows, and the index in it of each requested row, -1 if it is missing."""
        folder = self._folder(options)
        with self.in_use(options) if folder.is_dir() else nullcontext():
            features = FeatureSet.known(folder, options.precision)
            if features is None:
                return None, None, np.full(len(self.rows), -1, np.int64)
            return features, *features.find(self.digests)

    @contextmanager
    def in_use(self, options: FeatureOptions) -> Iterator[None]:
        """Create the folder of the set if it is missing, and lock it against removal. Raises VsrError for a link in it.

        Rows that were read in the block stay readable after it, even if their files are removed.
        """
        folder = self._folder(options)
        refuse_links(cache_folder(), [FEATURES], below=False)
        refuse_links(folder.parent, [folder.name])
        busy = f"{folder}: another process is removing these features; run the command again when it is done"
        with shared_lock(folder, busy=busy, patience=REMOVING):
            yield

    def set_like(self, features: NDArray[np.float32], *, tokens: bool, options: FeatureOptions) -> FeatureSet:
        """Return the set in which such features (n, *F) are cached, which may not exist yet."""
        shape, precision = features.shape[1:], options.precision
        return FeatureSet(self._folder(options), row_shape=shape, precision=precision, tokens=tokens)

    def _folder(self, options: FeatureOptions) -> Path:
        # Features in fp32 have the name of earlier versions.
        compute = "" if options.compute == "fp32" else f"-{options.compute}"
        return cache_folder() / FEATURES / f"{self.kind}-{self.key}-{options.precision}{compute}"


def visual_request(
    prepared: Prepared, encoder: VisualEncoder, windows: Sequence[Windows], *, device: torch.device
) -> FeatureRequest | None:
    """Return a request for all images of some windows; None if the encoder has no frozen half."""
    if encoder.cache_key is None:
        return None
    frames = prepared.frames
    compute = visual_rows(frames, encoder, device)

    def make(rows: NDArray[np.int64], advance: Advance) -> Made:
        return encode(compute, rows, advance), None

    used = _used([each.image_rows for each in windows])
    digests = prepared.image_facts.digest[used]
    return FeatureRequest("visual", encoder.cache_key, used, digests, len(frames.images), encoder, device, make)


def text_request(
    prepared: Prepared, encoder: TextEncoder, windows: Sequence[Windows], *, device: torch.device
) -> FeatureRequest | None:
    """Return a request for all texts of some windows; None if the encoder has no frozen half.

    Of features per token (N, L, *F), only those of real tokens are stored; the others are zeros.
    """
    if encoder.cache_key is None:
        return None
    texts = prepared.frames.texts

    def make(rows: NDArray[np.int64], advance: Advance) -> Made:
        tokens = encoder.tokenize([texts[row] for row in rows.tolist()])
        lengths: NDArray[np.int64] = tokens.mask.sum(axis=1)
        # Batches hold texts of similar length, which saves time if the encoder removes padding.
        order = np.argsort(lengths, kind="stable")
        features = encode(text_rows(tokens, encoder, device), order, advance)[np.argsort(order)]
        of_tokens = features.ndim >= 3 and features.shape[1] == tokens.mask.shape[1]
        return features, lengths if of_tokens else None

    used = _used([each.text_rows for each in windows])
    digests = bytearray()
    for row in used.tolist():
        digests += hashlib.sha256(texts[row].encode()).digest()[:16]
    digest_rows = np.frombuffer(digests, np.uint8).reshape(-1, 16)
    return FeatureRequest("text", encoder.cache_key, used, digest_rows, len(texts), encoder, device, make)


def load_or_compute(
    request: FeatureRequest | None, options: FeatureOptions, *, workers: WorkerGroup = SINGLE_PROCESS
) -> Rows | None:
    """Return the requested features by the rows of their images or texts; compute and cache those that are missing.

    Returns None if nothing is requested or the cache limit does not allow it: they are then computed for each batch.
    """
    if request is None or not len(request.rows):
        return None
    features, rows, at = request.look_up(options)
    if features is None:
        first, lengths = request.compute(request.rows[:1], options)  # only the encoder knows the shape of a row
        features = request.set_like(first, tokens=lengths is not None, options=options)
    if len(missing := np.flatnonzero(at < 0)):
        allowed = _announce(features, request.kind, len(missing), options)
        workers.wait()  # until all have found the same rows missing
        if not allowed:
            return None
        with request.in_use(options):
            rows, at = _complete(features, request, missing, options=options, workers=workers)
    assert rows is not None
    chosen = np.full(request.count, -1, np.int64)
    chosen[request.rows] = at
    return ChosenRows(rows, chosen)


def _complete(
    features: FeatureSet,
    request: FeatureRequest,
    missing: NDArray[np.int64],
    *,
    options: FeatureOptions,
    workers: WorkerGroup,
) -> tuple[FeatureRows, NDArray[np.int64]]:
    """Compute and store missing rows. Return the rows of the set and the index of each requested row."""
    features.describe(kind=request.kind, key=request.key, compute=options.compute)
    _compute(features, request, missing, options=options, share=workers.local_share)
    workers.wait()
    rows, at = features.find(request.digests)
    while len(missing := np.flatnonzero(at < 0)):  # removed by another process in the meantime
        _compute(features, request, missing, options=options, share=Share())
        rows, at = features.find(request.digests)
    return rows, at


def _used(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([part.reshape(-1) for part in rows])) if rows else np.empty(0, np.int64)


def fits_limit(size: int, options: FeatureOptions) -> bool:
    """Return whether the cache, of features and frozen weights, may grow by this many bytes."""
    used = folder_bytes(cache_folder() / FEATURES) + folder_bytes(cache_folder() / FROZEN)
    return used + size <= options.limit * 2**30


def _announce(features: FeatureSet, kind: str, count: int, options: FeatureOptions) -> bool:
    """Log what is about to be written, and return whether the limit allows it."""
    needed = features.row_bytes * count
    if fits_limit(needed, options):
        say(f"frozen {kind} features: {counted(count, WHAT[kind])}, at most {size(needed)}, to {features.folder}")
        return True
    say(
        f"frozen {kind} features: {size(needed)} more in {cache_folder()} would exceed the limit of "
        f"{options.limit:g} GiB, so they are computed for each batch; raise --set features.limit=GiB, "
        "halve their size with --set features.precision=half, or free space with 'vsr cache prune'"
    )
    return False


def _compute(
    features: FeatureSet,
    request: FeatureRequest,
    missing: NDArray[np.int64],
    *,
    options: FeatureOptions,
    share: Share,
) -> None:
    size = features.rows_per_shard
    rows, digests, what = request.rows[missing], request.digests[missing], f"{WHAT[request.kind]}s"
    starts = [start for number, start in enumerate(range(0, len(rows), size)) if number in share]
    warn_slow(options.compute, request.device)
    with request.encoding(len(rows), options), progress(Rate(what)) as bar:
        task = bar.add_task(f"encoding {what}", total=sum(min(size, len(rows) - start) for start in starts))
        for start in starts:
            found, lengths = request.make(rows[start : start + size], lambda count: bar.advance(task, count))
            here = digests[start : start + size]
            if lengths is None:
                features.add(here, found, None)
                continue
            real = np.arange(features.row_shape[0]) < lengths[:, None]  # (n, L)
            features.add(here, found[real], lengths)
