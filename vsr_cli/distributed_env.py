"""The environment of a distributed launch: process count and rank, and how many cores this process may use.

The variables are those of torchrun and accelerate, then those of the MPI programs that accelerate supports.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
INDEX = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
LOCAL_INDEX = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")

SPIN_COUNT = "2000"
"""How long an idle OpenMP thread spins, in loop iterations: about ten microseconds."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Quota of this process's control group: microseconds of CPU time per period, and the period; or "max"."""


def process_count() -> int:
    """Return the number of processes of this launch, on all machines."""
    return _number(COUNT, default=1)


def is_main() -> bool:
    """Whether this is the main process, which writes files."""
    return process_count() == 1 or _number(INDEX, default=0) == 0


def speaks() -> bool:
    """Whether this is the first process of its machine, which logs."""
    return process_count() == 1 or _number(LOCAL_INDEX, default=0) == 0


def share_processor() -> None:
    """Configure OpenMP for a machine shared with other programs: threads spin briefly and respect a CPU quota.

    By default, waiting OpenMP threads spin for milliseconds while another program keeps one of them from running, which
    makes training several times slower (docs/explanation/speed.md). The number of threads never depends on the load:
    sums round differently with another number, and a run would not be repeatable. The variables are read when torch is
    imported; those that the user has set are respected.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    if usable_cores() < _cores_by_affinity():  # which is all that OpenMP looks at
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    if process_count() > 1:  # or each process warns of DistributedDataParallel's search for unused parameters
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def usable_cores() -> int:
    """Return how many cores this process may use, by its CPU affinity and the quota of its container."""
    cores = _cores_by_affinity()
    try:
        quota, period = CPU_QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or the quota is "max"
        return cores


def _cores_by_affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(names: tuple[str, ...], *, default: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), default)
