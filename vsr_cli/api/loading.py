"""Load weights without running code, and silence libraries. Imports no library until it is used."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import VsrError, one_line
from ..system_errors import refuse_system_error

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def quiet(*, below: int = logging.ERROR) -> Iterator[None]:
    """Disable log messages below a level of transformers, diffusers and huggingface_hub, and all bars of tqdm."""
    from huggingface_hub.utils import logging as hub_logging
    from tqdm import tqdm  # type: ignore[import-untyped]
    from transformers.utils import logging as transformers_logging

    diffusers = logging.getLogger("diffusers")  # by name, as diffusers is optional
    level, hub_level = transformers_logging.get_verbosity(), hub_logging.get_verbosity()
    diffusers_level = diffusers.level
    bars = transformers_logging.is_progress_bar_enabled()
    shown = tqdm.__init__

    def hidden(bar: Any, *args: Any, **options: Any) -> None:
        shown(bar, *args, **{**options, "disable": True})

    transformers_logging.set_verbosity(below)
    hub_logging.set_verbosity(below)
    diffusers.setLevel(below)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tqdm.__init__ = hidden  # transformers reads GGUF files with a bar that its own switch does not cover
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        diffusers.setLevel(diffusers_level)
        tqdm.__init__ = shown
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def reading_errors() -> tuple[type[Exception], ...]:
    """Return the errors that safetensors and torch raise for a broken file of weights."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    plain = (OSError, RuntimeError, EOFError, ValueError, LookupError, TypeError, AttributeError)
    return (*plain, SafetensorError, UnpicklingError)


def read_tensors(path: Path, *, remedy: str) -> Mapping[str, Tensor]:
    """Return the named tensors of a .safetensors or torch file, on the CPU, without running code from it.

    Raises VsrError, ending in the remedy, if it cannot be read, contains anything else or numbers that are not finite.
    """
    import warnings
    from pickle import UnpicklingError

    import torch
    from safetensors.torch import load_file

    from .finite import first_not_finite

    try:
        if path.suffix == ".safetensors":
            tensors: Any = load_file(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # of another version of pickle
                tensors = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:  # torch's message would tell how to run the code
        raise VsrError(
            f"{path}: weights cannot be read (it is broken, or holds more than named tensors); {remedy}"
        ) from error
    except reading_errors() as error:
        refuse_system_error(error, path)
        raise VsrError(f"{path}: weights cannot be read ({one_line(error)}); {remedy}") from error
    if not isinstance(tensors, Mapping) or not all(isinstance(each, torch.Tensor) for each in tensors.values()):
        raise VsrError(f"{path}: is not a state dict (names and tensors); {remedy}")
    if name := first_not_finite(tensors.items()):
        raise VsrError(f"{path}: {name} holds numbers that are not finite; {remedy}")
    return tensors
