"""Processes that a launcher has started to prepare data together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ...distributed_env import process_count
from .chunks import Share


@dataclass(frozen=True)
class WorkerGroup:
    """The processes that work together: each takes its share, and all wait until every share is done."""

    share: Share
    """Of the chunks, which all machines write to one folder."""
    local_share: Share
    """Of the features, which each machine writes to a cache of its own."""
    wait: Callable[[], None]


LONGEST_WAIT = timedelta(hours=24)
"""For a process whose share is larger, or that has to make the tables; a launcher notices sooner if one ends."""
ALONE = WorkerGroup(Share(), Share(), wait=lambda: None)


def company() -> WorkerGroup:
    """Join the processes that torchrun or `accelerate launch` has started, if any."""
    if process_count() == 1:
        return ALONE
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    machine = Share(state.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes)))
    return WorkerGroup(Share(state.process_index, state.num_processes), machine, wait=state.wait_for_everyone)
