"""Whether this process is one of several that a launcher started, as the environment says, and how it treats others.

The names are torchrun's and accelerate's, then those of the MPI programs that accelerate knows.
"""

from __future__ import annotations

import os

COUNT = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
INDEX = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
LOCAL_INDEX = ("LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "MV2_COMM_WORLD_LOCAL_RANK")


def process_count() -> int:
    """How many processes work together, on all machines."""
    return _number(COUNT, alone=1)


def is_main() -> bool:
    """Whether this is the process that writes files."""
    return process_count() == 1 or _number(INDEX, alone=0) == 0


def speaks() -> bool:
    """Whether this is the process of its machine that tells people what happens."""
    return process_count() == 1 or _number(LOCAL_INDEX, alone=0) == 0


def spare_other_programs() -> None:
    """Let threads that wait for each other sleep after a moment, so that other programs get on, and they too.

    By default OpenMP's keep a core busy for milliseconds while they wait for a thread that another program keeps from
    running: on a shared machine, training then takes several times as long. It is read when torch is imported.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "20000"  # a tenth of a millisecond or so: on an idle machine, waits are shorter


def _number(names: tuple[str, ...], *, alone: int) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), alone)
