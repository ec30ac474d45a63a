"""The supported image formats and their file suffixes."""

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
"""Suffixes of images and videos that are not supported."""


@cache
def image_formats() -> tuple[str, ...]:
    """Return the supported formats, as named by Pillow. AVIF is supported if Pillow was built with it."""
    from PIL import features  # not at import: the command line needs no Pillow to show its help

    return tuple(name for name in _SUFFIXES if name != "AVIF" or features.check("avif"))


@cache
def image_suffixes() -> tuple[str, ...]:
    """Return the suffixes of supported image files, lower-case, the most common ones first."""
    return tuple(suffix for name in image_formats() for suffix in _SUFFIXES[name])
