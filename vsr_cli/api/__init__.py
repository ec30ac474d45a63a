"""All of vsr that a plugin may import. Light: neither torch nor transformers is loaded by it."""

from ..errors import VsrError
from .component import Component, Options, hookimpl
from .decoding import Decoding
from .hub import HubSource, HubStream
from .metrics import Comparison, Metric, ReadsReferences, Sample, SpaceMetric
from .parts import (
    BuildContext,
    Context,
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
from .paths import is_file, leads_outside
from .stories import (
    Analysis,
    Box,
    Character,
    Dataset,
    Entity,
    Frame,
    FrameAnalysis,
    HasSurvey,
    Note,
    Phase,
    Rejected,
    Setting,
    Story,
    Survey,
    Thing,
)
from .text_objective import TextObjectiveOptions
from .vocabulary import TokenBatch, Vocabulary

__all__ = [
    "Analysis",
    "Box",
    "BuildContext",
    "Character",
    "Comparison",
    "Component",
    "Context",
    "Dataset",
    "Decoding",
    "Entity",
    "Frame",
    "FrameAnalysis",
    "Fusion",
    "HasAssets",
    "HasSurvey",
    "HubSource",
    "HubStream",
    "ImageDecoder",
    "Metric",
    "Narrative",
    "Note",
    "Options",
    "Phase",
    "ReadsReferences",
    "Rejected",
    "Sample",
    "Setting",
    "SpaceMetric",
    "Story",
    "Survey",
    "Target",
    "TemporalModel",
    "TextDecoder",
    "TextEncoder",
    "TextObjectiveOptions",
    "Thing",
    "TokenBatch",
    "VisualEncoder",
    "Vocabulary",
    "VsrError",
    "content_key",
    "hookimpl",
    "is_file",
    "leads_outside",
]
