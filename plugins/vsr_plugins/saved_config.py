"""A configuration of transformers from the text of its config.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def config_from(text: str) -> PreTrainedConfig:
    """Return the configuration of a config.json, read without a folder, which may be gone by now."""
    from transformers import CONFIG_MAPPING

    facts = json.loads(text)
    return CONFIG_MAPPING[facts["model_type"]].from_dict(facts)
