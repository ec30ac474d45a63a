"""Animations of stories: one frame after the other, each above its text, as a GIF or an MP4."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from ..errors import VsrError
from ..files.atomic import replacing
from .storyboard import PAPER, Panel, draw_storyboard

LETTERS_PER_SECOND = 25
"""At which a text is read."""
SHORTEST, LONGEST = 2.0, 6.0
"""Seconds of a frame."""
RATE = 4
"""Frames per second of an MP4."""
EXTRA = "video"


@dataclass(frozen=True)
class AnimationFrame:
    """An image, and how long it is shown."""

    image: Image.Image
    """All of an animation have the same even width and height."""
    seconds: float


def animation_frames(panels: Sequence[Panel]) -> list[AnimationFrame]:
    """Draw each panel by itself, all at the size of the largest."""
    images = [draw_storyboard([[panel]]) for panel in panels]
    # Even, as the codecs of videos need it.
    width, height = (max(image.size[axis] for image in images) + 1 & ~1 for axis in (0, 1))
    frames = []
    for panel, image in zip(panels, images, strict=True):
        whole = Image.new("RGB", (width, height), PAPER)
        whole.paste(image)
        seconds = min(max(len(panel.caption) / LETTERS_PER_SECOND, SHORTEST), LONGEST)
        frames.append(AnimationFrame(whole, round(seconds * RATE) / RATE))
    return frames


def save_gif(frames: Sequence[AnimationFrame], path: Path) -> None:
    """Write an endless GIF, whole or not at all."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        write_gif(frames, file)


def write_gif(frames: Sequence[AnimationFrame], file: IO[bytes]) -> None:
    """Write an endless GIF to an open file."""
    first, *others = [frame.image for frame in frames]
    durations = [round(frame.seconds * 1000) for frame in frames]
    first.save(file, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)


def check_mp4() -> None:
    """Raise VsrError if the package that writes an MP4 is not installed."""
    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError as error:
        raise VsrError(f"--mp4: needs the package imageio-ffmpeg; run: pip install 'vsr-cli[{EXTRA}]'") from error


def save_mp4(frames: Sequence[AnimationFrame], path: Path) -> None:
    """Write an MP4 (H.264), whole or not at all. Raises VsrError if the package for it is not installed."""
    check_mp4()
    import imageio_ffmpeg

    size = frames[0].image.size
    with replacing(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary),
            size,
            fps=RATE,
            codec="libx264",
            macro_block_size=2,
            output_params=["-f", "mp4", "-threads", "1"],
        )
        writer.send(None)
        try:
            for frame in frames:
                pixels = np.ascontiguousarray(np.asarray(frame.image, dtype=np.uint8))
                for _ in range(round(frame.seconds * RATE)):
                    writer.send(pixels)
        finally:
            writer.close()
