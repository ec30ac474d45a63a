"""Whether this process is one of several that a launcher started, as torchrun and accelerate say in the environment."""

from __future__ import annotations

import os


def process_count() -> int:
    """How many processes work together, on all machines."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return os.environ.get("RANK", "0") == "0"


def speaks() -> bool:
    """Whether this is the process of its machine that tells people what happens."""
    return os.environ.get("LOCAL_RANK", "0") == "0"
