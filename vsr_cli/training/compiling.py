"""Translating the parts of a model with torch's compiler."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import VsrError
from ..model.building import PROMISES
from ..model.story_model import StoryModel


@contextmanager
def compiled(model: StoryModel, *, wanted: bool) -> Iterator[None]:
    """Have each part of a model translated when it is first called in the block, and again for shapes not yet seen.

    What a part computes beside its forward pass, such as a text decoder's loss, stays as it is. Weights keep their
    names. Raises VsrError if the compiler fails, be it for want of something that it needs on this machine.
    """
    if not wanted:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # takes seconds, which only those who compile should wait

    for section in PROMISES:
        getattr(model, section).compile()
    try:
        yield
    except TorchDynamoException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise VsrError(
            f"training.compile: torch's compiler failed ({lines[0] if lines else type(error).__name__}); on a CPU it "
            "needs a C++ compiler and Python's headers (on Debian: g++ and python3-dev); install them, or leave "
            "--compile out"
        ) from error
