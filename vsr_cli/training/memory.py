"""Memory of training: the C library's allocator, and halving what does not fit."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Callable
from typing import TypeVar

from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from ..errors import VsrError

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's options, from malloc.h."""
LARGEST_CACHED_BLOCK = 2**30
"""Bytes."""
T = TypeVar("T")


def tune_allocator() -> None:
    """Let the process reuse freed memory instead of returning it to the kernel.

    By default glibc returns large blocks, and each training step has the same pages cleared and mapped again: on a CPU
    a fifth of the time of a step, and a third of that of a frozen encoder's pass. The peak of memory does not change.
    Does nothing where the C library is not glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if adjust is not None:
        adjust(MMAP_THRESHOLD, LARGEST_CACHED_BLOCK)
        adjust(TRIM_THRESHOLD, -1)  # never


def halve_to_fit(attempt: Callable[[int], T], windows: int, *, processes: int = 1) -> tuple[T, int]:
    """Call `attempt` with a number of windows per pass, halved until it fits in memory; return the result and number.

    accelerate's `find_executable_batch_size` collects garbage before each call, which costs more than a small step, and
    does not recognize a `MemoryError` of the host. Raises VsrError if one window does not fit, or if several processes
    work together: a process alone cannot repeat a pass that the others wait in.
    """
    while True:
        try:
            return attempt(windows), windows
        except (RuntimeError, MemoryError) as error:
            if not isinstance(error, MemoryError) and not should_reduce_batch_size(error):
                raise
        # Outside of the block: the error references the tensors that had been computed.
        clear_device_cache(garbage_collection=True)
        if processes > 1:
            raise VsrError(
                f"training: out of memory ({windows // processes} windows per process in one pass); set a smaller "
                "training.batch_size, and a larger training.gradient_accumulation_steps for steps of the same size"
            )
        if windows == 1:
            raise VsrError(
                "training: a single window does not fit in memory; choose a smaller model.width, image size or "
                "encoder, or another training.device"
            )
        windows = math.ceil(windows / 2)
