"""Configurations of transformers: from the text of a config.json, and for a cache key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


def config_from(text: str) -> PreTrainedConfig:
    """Return the configuration of a config.json, read without a folder, which may be gone by now."""
    from transformers import CONFIG_MAPPING

    facts = json.loads(text)
    return CONFIG_MAPPING[facts["model_type"]].from_dict(facts)


def facts_of_config(config: PreTrainedConfig) -> dict[str, Any]:
    """Return the fields of a configuration that affect the computation."""
    unused = {"_name_or_path", "architectures", "dtype", "transformers_version"}
    return {name: value for name, value in sorted(config.to_dict().items()) if name not in unused}
