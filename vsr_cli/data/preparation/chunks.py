"""Chunks: the images and records of a few stories, in two files that are named by content.

Stories are grouped into chunks as they are read. The name of a chunk is a digest of all that its files depend on, so an
existing chunk is reused: `prepare` resumes after a kill, only changed stories of a source are processed again, and the
files of several machines can be copied into one folder. The digest of a story's id decides whether its chunk ends
there, so that an added or removed story does not move the other boundaries.

    chunks/KEY.safetensors   rows (n, H, W, 3) uint8: distinct images; digest (n, 16) uint8 and hash (n,) uint64
                             (perceptual) of each; size (n, 2) int32, width and height in the source
    chunks/KEY.jsonl         one line per story, see `story_encoding.stored`, and one with their checksum; written
                             last, so that it marks the chunk as complete
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from ...api import Rejected, Story
from ...config.schema import DataOptions
from ...console import warn
from ...distributed_env import usable_cores
from ...errors import DamagedFile, VsrError
from ...files.atomic import replacing
from ...files.strict_json import SEAL, from_json, to_json
from ...system_errors import refuse_system_error
from ..duplicates import distinct
from ..scratch import roomy_array
from ..shards import REMEDY, ROWS, map_shard, save_shard
from .story_encoding import HELD, EncodedStory, ImageRecord, content_of, encode_story, stored

FORMAT = 2
"""Changed whenever the same story would be stored differently."""
STORIES_PER_CHUNK = 8
"""On average: each story ends its chunk with probability 1 / 8, decided by its id."""
FRAMES_PER_CHUNK = 96
BYTES_PER_CHUNK = 32 * 2**20
"""Maximum number of frames of a chunk, and of bytes of encoded images that are held in memory."""
NO_IMAGES = np.empty((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Share:
    """The chunks that this process creates: every `of`-th, starting at number `index` (from 0)."""

    index: int = 0
    of: int = 1

    def __contains__(self, number: int) -> bool:
        return number % self.of == self.index


@dataclass(frozen=True)
class Chunk:
    """A chunk on disk."""

    folder: Path
    key: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[0-9a-f]{32}", str(self.key)):  # it comes from a file, and names another one
            raise VsrError(f"{self.folder}: no chunk has such a name (got {self.key!r}); prepare the data again")

    @property
    def images(self) -> Path:
        """The path of its images."""
        return self.folder / f"{self.key}.safetensors"

    @property
    def stories(self) -> Path:
        """The path of the records of its stories."""
        return self.folder / f"{self.key}.jsonl"

    def verify_images(self) -> None:
        """Read the file of the images. Raises DamagedFile if it is missing or damaged."""
        for _ in map_shard(self.images).values():
            pass  # access verifies the checksum of a tensor

    def is_whole(self) -> bool:
        """Return whether both files exist and are undamaged. Damage is reported, a missing file is not."""
        if not (self.images.is_file() and self.stories.is_file()):
            return False
        try:
            self.verify_images()
            next(self.records(), None)
        except DamagedFile as error:
            warn(f"{str(error).partition('; ')[0]}; it is created again")
            return False
        return True

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the records of the stories. Raises DamagedFile, before any, if the file is missing or damaged."""
        try:
            *lines, seal = self.stories.read_bytes().splitlines(keepends=True)
            if from_json(seal) != _seal(b"".join(lines)):
                raise ValueError("its content does not fit its checksum")
            records = [from_json(line) for line in lines]
        except FileNotFoundError as error:
            raise DamagedFile(f"{self.stories}: is missing; {REMEDY}") from error
        except (OSError, ValueError) as error:
            refuse_system_error(error, self.stories)
            raise DamagedFile(f"{self.stories}: is damaged ({error}); {REMEDY}") from error
        yield from records


@dataclass(frozen=True)
class Made:
    """A finished chunk."""

    chunk: Chunk
    stories: int
    new: bool
    """Whether it was created now; False if it existed already."""


def make_chunks(
    stories: Iterable[Story | Rejected],
    folder: Path,
    options: DataOptions,
    *,
    share: Share,
    on_story: Callable[[], None],
) -> Iterator[Made | None]:
    """Create the missing chunks of a stream of stories, and yield each chunk in the order of the stories.

    None stands for a chunk in the share of another machine. Images are decoded on all cores (Pillow decodes without the
    GIL) while further stories are read; at most three chunks are held in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pending: deque[tuple[Made, list[Future[EncodedStory] | Rejected]] | None] = deque()
    pool = ThreadPoolExecutor(usable_cores())
    try:
        for number, members in enumerate(_grouped(stories, on_story)):
            if number in share:
                made, futures = _begin(members, folder, options, pool)
                pending.append((made, futures))
            else:
                pending.append(None)
            if len(pending) > 2:
                yield _settle(pending.popleft())
        while pending:
            yield _settle(pending.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _grouped(stories: Iterable[Story | Rejected], on_story: Callable[[], None]) -> Iterator[list[Story | Rejected]]:
    members: list[Story | Rejected] = []
    frames = size = 0
    for item in stories:
        on_story()
        members.append(item)
        if isinstance(item, Story):
            frames += len(item.frames)
            size += sum(len(frame.image) for frame in item.frames if isinstance(frame.image, bytes))
        name = item.where if isinstance(item, Rejected) else item.id
        ends = hashlib.sha256(name.encode(errors="backslashreplace")).digest()[0] % STORIES_PER_CHUNK == 0
        if ends or frames >= FRAMES_PER_CHUNK or size >= BYTES_PER_CHUNK:
            yield members
            members, frames, size = [], 0, 0
    if members:
        yield members


def _begin(
    members: Sequence[Story | Rejected], folder: Path, options: DataOptions, pool: ThreadPoolExecutor
) -> tuple[Made, list[Future[EncodedStory] | Rejected]]:
    digest = hashlib.sha256(f"chunk/{FORMAT};{options.image_size};{options.resize};".encode())
    for item in members:
        digest.update(content_of(item))
    chunk = Chunk(folder, digest.hexdigest()[:32])
    if chunk.is_whole():
        return Made(chunk, len(members), new=False), []
    size, resize = options.image_size, options.resize
    futures: list[Future[EncodedStory] | Rejected] = [
        item if isinstance(item, Rejected) else pool.submit(encode_story, item, size=size, resize=resize)
        for item in members
    ]
    return Made(chunk, len(members), new=True), futures


def _settle(begun: tuple[Made, list[Future[EncodedStory] | Rejected]] | None) -> Made | None:
    if begun is None:
        return None
    made, futures = begun
    if made.new:
        _write(made.chunk, [item if isinstance(item, Rejected) else item.result() for item in futures])
    return made


def _write(chunk: Chunk, members: Sequence[EncodedStory | Rejected]) -> None:
    rows: dict[bytes, int] = {}
    records: list[ImageRecord] = []
    lines: list[str] = []
    for item in members:
        if isinstance(item, Rejected):
            lines.append(to_json(stored(item)))
            continue
        for frame, image in zip(item.record["frames"], item.images, strict=True):
            if image is not None:
                frame["image"] = rows.setdefault(image.digest, len(rows))
                if len(rows) > len(records):
                    records.append(image)
        lines.append(to_json(item.record))
    save_shard(
        chunk.images,
        {
            ROWS: _stacked(records),
            "digest": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16),
            "hash": np.asarray([record.hash for record in records], np.uint64),
            "size": np.asarray([(record.image.width, record.image.height) for record in records], np.int32).reshape(
                -1, 2
            ),
        },
    )
    with replacing(chunk.stories) as temporary:
        content = "".join(f"{line}\n" for line in lines).encode()
        temporary.write_bytes(content + to_json(_seal(content)).encode() + b"\n")


def _stacked(records: Sequence[ImageRecord]) -> NDArray[np.uint8]:
    """Return the pixels of images as one array (n, H, W, 3), which is not held in memory if it is large."""
    if not records:
        return NO_IMAGES
    rows = roomy_array((len(records), *records[0].image.pixels.shape), np.uint8, small=HELD)
    for row, record in enumerate(records):
        rows[row] = record.image.pixels
    return rows


def _seal(content: bytes) -> dict[str, str]:
    """Return the last line of a file of records: the checksum of all lines before it."""
    return {SEAL: f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"}


@dataclass(frozen=True)
class StoredImages:
    """The stored images of all chunks, one after the other."""

    offsets: list[int]
    """By chunk, the index of its first image."""
    counts: list[int]
    row_of: NDArray[np.int64]
    """By stored image, its row among the distinct ones."""
    first: NDArray[np.int64]
    """By distinct image, the row of the stored image that it is read from."""
    digest: NDArray[np.uint8]
    hash: NDArray[np.uint64]
    size: NDArray[np.int32]


def stored_images(chunks: Sequence[Chunk]) -> StoredImages:
    """Read what identifies the images of some chunks, without their pixels."""
    digests, hashes, sizes, counts = [], [], [], []
    for chunk in chunks:
        tensors = map_shard(chunk.images)
        counts.append(len(tensors["digest"]))
        digests.append(np.array(tensors["digest"]))
        hashes.append(np.array(tensors["hash"]))
        sizes.append(np.array(tensors["size"]))
    digest = np.concatenate(digests) if digests else np.empty((0, 16), np.uint8)
    row_of, first = distinct(digest)
    return StoredImages(
        offsets=np.concatenate([[0], np.cumsum(counts)])[:-1].astype(np.int64).tolist(),
        counts=counts,
        row_of=row_of,
        first=first,
        digest=digest,
        hash=np.concatenate(hashes) if hashes else np.empty(0, np.uint64),
        size=np.concatenate(sizes) if sizes else np.empty((0, 2), np.int32),
    )
