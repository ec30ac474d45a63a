"""Names that changed in version 0.2, old to new, so that an old name gets an error that states the new one."""

from __future__ import annotations

SETTINGS = {
    "training.accumulate": "training.gradient_accumulation_steps",
    "training.clip_gradient": "training.max_grad_norm",
    "training.warmup": "training.warmup_ratio",
    "objective.next": "objective.next_frame",
    "data.short": "data.short_stories",
}
"""Keys of a configuration, as `section.key`."""

VALUES = {
    "training.precision": {"no": "fp32"},
    "data.resize": {"squash": "stretch"},
    "protocol": {"seed": "leaky"},
}
"""Values of a setting, or of an option of a command."""

COMPONENTS = {
    "metrics": {
        "rank": "mrr-image",
        "rank-text": "mrr-text",
        "similarity": "cosine-image",
        "similarity-text": "cosine-text",
        "spread": "diversity-image",
        "repetition": "rep-4",
        "copying": "context-overlap-4",
        "entities": "entity-f1",
    },
    "text_decoder": {"copy": "pointer-generator", "echo": "repeat-context"},
}
"""Components by the section of their kind."""

OPTIONS = {"--short": "--short-stories"}
"""Options of commands."""
