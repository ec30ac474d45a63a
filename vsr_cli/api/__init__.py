"""All of vsr that a plugin may import. Light: neither torch nor transformers is loaded by it."""

from ..errors import VsrError
from .component import Component, Options, hookimpl
from .metrics import Metric, Sample
from .parts import (
    BuildContext,
    Context,
    Decoding,
    Fusion,
    HasAssets,
    ImageDecoder,
    Narrative,
    Target,
    TemporalModel,
    TextDecoder,
    TextEncoder,
    VisualEncoder,
    content_key,
)
from .stories import Dataset, Entity, Frame, Note, Rejected, Story
from .vocabulary import TokenBatch, Vocabulary

__all__ = [
    "BuildContext",
    "Component",
    "Context",
    "Dataset",
    "Decoding",
    "Entity",
    "Frame",
    "Fusion",
    "HasAssets",
    "ImageDecoder",
    "Metric",
    "Narrative",
    "Note",
    "Options",
    "Rejected",
    "Sample",
    "Story",
    "Target",
    "TemporalModel",
    "TextDecoder",
    "TextEncoder",
    "TokenBatch",
    "VisualEncoder",
    "Vocabulary",
    "VsrError",
    "content_key",
    "hookimpl",
]
