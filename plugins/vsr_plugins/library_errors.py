"""What libraries raise when they load a model."""

from __future__ import annotations

import struct

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

UNLOADABLE = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ImportError,
    ArithmeticError,
    AssertionError,
    struct.error,
    SafetensorError,
    StrictDataclassError,
)
"""Errors of transformers and diffusers for a missing, broken or unknown model, or without a network."""
