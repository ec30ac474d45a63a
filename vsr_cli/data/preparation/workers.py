"""The processes of a distributed launch that prepare data together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from ...distributed_env import process_count
from .chunks import Share


@dataclass(frozen=True)
class WorkerGroup:
    """A group of processes that take a share each and wait for one another."""

    share: Share
    """Share of the chunks, which all machines write to one folder."""
    local_share: Share
    """Share of the features, which each machine writes to its own cache."""
    wait: Callable[[], None]


LONGEST_WAIT = timedelta(hours=24)
"""Maximum wait for a process with a larger share, or for the tables. The launcher notices earlier if one fails."""
SINGLE_PROCESS = WorkerGroup(Share(), Share(), wait=lambda: None)


def join_workers() -> WorkerGroup:
    """Return the group of the processes that torchrun or `accelerate launch` has started, or of this process only."""
    if process_count() == 1:
        return SINGLE_PROCESS
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)
    machine = Share(state.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE", state.num_processes)))
    return WorkerGroup(Share(state.process_index, state.num_processes), machine, wait=state.wait_for_everyone)
