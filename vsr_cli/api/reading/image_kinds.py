"""The kinds of image that are read, and what their files are called."""

from __future__ import annotations

from functools import cache

_SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif", ".avifs"),
}
OTHER_SUFFIXES = frozenset({
    ".heic", ".heif", ".hif", ".jxl", ".jp2", ".j2k", ".jpx", ".svg", ".svgz", ".psd", ".psb", ".ai", ".eps", ".pdf",
    ".ico", ".icns", ".tga", ".dds", ".exr", ".hdr", ".qoi", ".ppm", ".pgm", ".pbm", ".pnm", ".pcx", ".xcf", ".kra",
    ".wmf", ".emf", ".dib", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".mp4", ".m4v",
    ".mov", ".webm", ".mkv", ".avi",
})  # fmt: skip
"""Of images and films that are not read."""


@cache
def image_formats() -> tuple[str, ...]:
    """Return the names of the kinds that are read, as Pillow calls them. AVIF is one where Pillow was built with it."""
    from PIL import features  # not at import: the command line needs no Pillow to show its help

    return tuple(name for name in _SUFFIXES if name != "AVIF" or features.check("avif"))


@cache
def image_suffixes() -> tuple[str, ...]:
    """Return the endings of the files that are read as images, lower-case, the usual ones first."""
    return tuple(suffix for name in image_formats() for suffix in _SUFFIXES[name])
