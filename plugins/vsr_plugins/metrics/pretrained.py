"""Loading a pretrained model for a metric, and the error if it is missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from vsr_cli.api import VsrError, cache_if_unreachable, one_line, quiet, refuse_foreign_code

Loaded = TypeVar("Loaded")
UNLOADABLE = (OSError, ValueError, KeyError, RuntimeError, ImportError)
"""What the libraries raise at a missing, broken or unknown model, or where there is no network."""


def load(metric: str, model: str | None, loader: Callable[[str], Loaded]) -> Loaded:
    """Load a model by its folder or hub id. Raises VsrError if none is named or it cannot be had."""
    remedy = f"name a folder with its weights in safetensors, or a hub id, by --set metrics.{metric}.model=FOLDER"
    if model is None:
        raise VsrError(f"{metric}: no model is named; {remedy}")
    try:
        with quiet(), cache_if_unreachable(model):
            refuse_foreign_code(model)
            return loader(model)
    except UNLOADABLE as error:
        raise VsrError(f"{metric}: cannot load {model} ({one_line(error)}); {remedy}") from error
