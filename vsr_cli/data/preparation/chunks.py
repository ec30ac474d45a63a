"""Chunks: a few stories' images and records in two files that are named after their content.

Stories are gathered into chunks as they are read. A chunk's name is a digest of all that its files depend on, so a
chunk that is there need not be made again: after a kill, `prepare` goes on where it stopped; of a changed source, only
the chunks of changed stories are made anew; several machines make a share each, and their files are simply put
together. Since a chunk ends where the digest of a story's id says so, a story more or less moves no other boundary.

    chunks/KEY.safetensors   rows (n, H, W, 3) uint8: distinct images; digest (n, 16) uint8 and hash (n,) uint64
                             (perceptual) of each; size (n, 2) int32, width and height in the source
    chunks/KEY.jsonl         one line a story, see `digitising.stored`, and one with the checksum of these; the file is
                             written last, so it says that all is there
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
from ..shards import REMEDY, ROWS, map_shard, save_shard
from .story_encoding import Digitised, Still, content_of, digitise, stored

FORMAT = 2
"""Changes whenever the same story would be stored in another way."""
STORIES_A_CHUNK = 8
"""On average: every story ends its chunk with this chance, by its id."""
FRAMES_A_CHUNK = 96
BYTES_A_CHUNK = 32 * 2**20
"""Bounds after which a chunk ends: frames, and bytes of encoded images that are held in memory."""
NO_PICTURES = np.empty((0, 0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Share:
    """The part of the chunks that this process makes: every `of`-th, beginning with number `index` (from 0)."""

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
            raise VsrError(f"{self.folder}: no chunk has such a name (got {self.key!r}); prepare the data anew")

    @property
    def pictures(self) -> Path:
        """The file of its images."""
        return self.folder / f"{self.key}.safetensors"

    @property
    def stories(self) -> Path:
        """The file of its stories' records."""
        return self.folder / f"{self.key}.jsonl"

    def verify_pictures(self) -> None:
        """Read the file of the images. Raises DamagedFile if it is missing, or is not what was written."""
        for _ in map_shard(self.pictures).values():
            pass  # each tensor is compared with its checksum as it is taken

    def is_whole(self) -> bool:
        """Whether both files are there and as they were written. Damage is reported; what is missing is not."""
        if not (self.pictures.is_file() and self.stories.is_file()):
            return False
        try:
            self.verify_pictures()
            next(self.records(), None)
        except DamagedFile as error:
            warn(f"{str(error).partition('; ')[0]}; it is made again")
            return False
        return True

    def records(self) -> Iterator[dict[str, Any]]:
        """Read the stories' records. Raises DamagedFile, before the first one, if they are not what was written."""
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
    """Word of one chunk as it is done."""

    chunk: Chunk
    stories: int
    new: bool
    """Whether it had to be made; else it was there."""


def make_chunks(
    stories: Iterable[Story | Rejected],
    folder: Path,
    options: DataOptions,
    *,
    share: Share,
    on_story: Callable[[], None],
) -> Iterator[Made | None]:
    """Make the chunks of a stream of stories that are not there yet, and yield word of each in the stories' order.

    None stands for a chunk of another machine's share. Images are decoded on all cores (Pillow decodes without the
    GIL) while further stories are read; three chunks at most are held in memory.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pending: deque[tuple[Made, list[Future[Digitised] | Rejected]] | None] = deque()
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
        ends = hashlib.sha256(name.encode(errors="backslashreplace")).digest()[0] % STORIES_A_CHUNK == 0
        if ends or frames >= FRAMES_A_CHUNK or size >= BYTES_A_CHUNK:
            yield members
            members, frames, size = [], 0, 0
    if members:
        yield members


def _begin(
    members: Sequence[Story | Rejected], folder: Path, options: DataOptions, pool: ThreadPoolExecutor
) -> tuple[Made, list[Future[Digitised] | Rejected]]:
    digest = hashlib.sha256(f"chunk/{FORMAT};{options.image_size};{options.resize};".encode())
    for item in members:
        digest.update(content_of(item))
    chunk = Chunk(folder, digest.hexdigest()[:32])
    if chunk.is_whole():
        return Made(chunk, len(members), new=False), []
    size, resize = options.image_size, options.resize
    futures: list[Future[Digitised] | Rejected] = [
        item if isinstance(item, Rejected) else pool.submit(digitise, item, size=size, resize=resize)
        for item in members
    ]
    return Made(chunk, len(members), new=True), futures


def _settle(begun: tuple[Made, list[Future[Digitised] | Rejected]] | None) -> Made | None:
    if begun is None:
        return None
    made, futures = begun
    if made.new:
        _write(made.chunk, [item if isinstance(item, Rejected) else item.result() for item in futures])
    return made


def _write(chunk: Chunk, members: Sequence[Digitised | Rejected]) -> None:
    rows: dict[bytes, int] = {}
    stills: list[Still] = []
    lines: list[str] = []
    for item in members:
        if isinstance(item, Rejected):
            lines.append(to_json(stored(item)))
            continue
        for frame, still in zip(item.record["frames"], item.stills, strict=True):
            if still is not None:
                frame["image"] = rows.setdefault(still.digest, len(rows))
                if len(rows) > len(stills):
                    stills.append(still)
        lines.append(to_json(item.record))
    save_shard(
        chunk.pictures,
        {
            ROWS: np.stack([still.picture.pixels for still in stills]) if stills else NO_PICTURES,
            "digest": np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 16),
            "hash": np.asarray([still.hash for still in stills], np.uint64),
            "size": np.asarray([(still.picture.width, still.picture.height) for still in stills], np.int32).reshape(
                -1, 2
            ),
        },
    )
    with replacing(chunk.stories) as temporary:
        content = "".join(f"{line}\n" for line in lines).encode()
        temporary.write_bytes(content + to_json(_seal(content)).encode() + b"\n")


def _seal(content: bytes) -> dict[str, str]:
    """Return the last line of a file of records: the checksum of all lines before it."""
    return {SEAL: f"xxh3-128:{xxhash.xxh3_128_hexdigest(content)}"}


@dataclass(frozen=True)
class StoredImages:
    """The stored images of all chunks, one after the other."""

    offsets: list[int]
    """By chunk, where its images begin."""
    counts: list[int]
    row_of: NDArray[np.int64]
    """By stored image, its row among the distinct ones."""
    first: NDArray[np.int64]
    """By distinct image, the stored one that it is read from."""
    digest: NDArray[np.uint8]
    hash: NDArray[np.uint64]
    size: NDArray[np.int32]


def stored_images(chunks: Sequence[Chunk]) -> StoredImages:
    """Read what identifies the images of some chunks, without their pixels."""
    digests, hashes, sizes, counts = [], [], [], []
    for chunk in chunks:
        tensors = map_shard(chunk.pictures)
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
