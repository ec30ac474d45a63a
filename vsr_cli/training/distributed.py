"""Training in several processes by accelerate: joining them, waiting for each other, and naming a lost one.

A single process is the usual case, where all of this does nothing.
"""

from __future__ import annotations

import os
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import (
    DistributedDataParallelKwargs,
    DistributedType,
    InitProcessGroupKwargs,
    gather_object,
)
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.nn.functional import all_gather
from torch.nn import functional

from ..config.schema import TrainingOptions
from ..console import err
from ..data.preparation.chunks import Share
from ..data.preparation.workers import LONGEST_WAIT, WorkerGroup
from ..data.prepared import Prepared
from ..distributed_env import is_main, process_count
from ..errors import PluginError, VsrError
from ..model.losses.term import Gather
from ..model.weights import choose_device
from ..plugin.faults import naming_faults
from ..runs.run import Run

SUPPORTED = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MULTI_NPU")


def start(options: TrainingOptions) -> Accelerator:
    """Join the processes of a launcher, if any. Raises VsrError if they cannot work together, or not in this way."""
    device = choose_device(options.device)
    if process_count() == 1:
        # A program may train again in the same process, on another device or in another precision.
        AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(
        mixed_precision=_precision(options, device),
        cpu=device.type == "cpu",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=timedelta(minutes=options.timeout_minutes)),
            # A component may leave some of its parameters unused.
            DistributedDataParallelKwargs(find_unused_parameters=True),
        ],
    )
    if accelerator.distributed_type not in [DistributedType[name] for name in SUPPORTED]:
        raise VsrError(
            f"distributed training: {accelerator.distributed_type} is not supported, since it divides the weights that "
            "checkpoints store whole; launch plain processes, e.g. 'torchrun --nproc-per-node 2 -m vsr_cli train'"
        )
    count = accelerator.num_processes
    if count != process_count():
        raise VsrError(
            f"distributed training: the launcher started {process_count()} processes, but {count} "
            f"can work together on {device.type}; start them with torchrun or 'accelerate launch', on cuda or cpu"
        )
    return accelerator


def _precision(options: TrainingOptions, device: torch.device) -> str:
    """Return accelerate's name of the precision. Raises VsrError if the device does not support it."""
    if options.precision == "fp16" and device.type == "cpu":
        raise VsrError("training.precision: a CPU does not train in fp16; use bf16, fp32 or auto")
    if options.precision in ("bf16", "fp16"):
        return options.precision
    # A GPU's kind is part of a command's setting; which instructions a processor has is not, so auto is fp32 on CPUs.
    auto = options.precision == "auto" and device.type == "cuda"
    return "bf16" if auto and torch.cuda.is_bf16_supported(including_emulation=False) else "no"


def precision_of(accelerator: Accelerator) -> str:
    """Return the precision of matrix products, by its name in `training.precision`."""
    return "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision


def same_run(run: Run | None) -> Run:
    """Return in every process the run that the main one has opened."""
    folder = gather_object([str(run.folder) if run else None])[0]
    assert folder, "the main process opens the run"
    return Run(Path(folder))


def resumes_everywhere(run: Run, prepared: Prepared) -> bool:
    """Return whether the run has a checkpoint to resume from. Raises VsrError if processes see different folders."""
    seen = gather_object([(run.checkpoint("last").is_dir(), prepared.fingerprint)])
    for index, (has_checkpoint, fingerprint) in enumerate(seen):
        if fingerprint != seen[0][1]:
            raise VsrError(f"{prepared.folder}: process {index} has other data there than the main one; copy it anew")
        if has_checkpoint != seen[0][0]:
            raise VsrError(f"{run.folder}: process {index} does not see this folder; resume where all machines do")
    return bool(seen[0][0])


@contextmanager
def main_process_first(accelerator: Accelerator) -> Iterator[None]:
    """Run a block in the main process first, then in the first of each machine, then in all the others.

    The others find what it has downloaded, computed or written.
    """
    turn = 0 if accelerator.is_main_process else 1 if accelerator.is_local_main_process else 2
    for _ in range(turn):
        wait_for_everyone(accelerator)
    yield
    for _ in range(2 - turn):
        wait_for_everyone(accelerator)


def worker_group(accelerator: Accelerator) -> WorkerGroup:
    """Return the processes as the workers that compute features together."""
    local = Share(accelerator.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)))
    share = Share(accelerator.process_index, accelerator.num_processes)
    return WorkerGroup(share, local, wait=lambda: wait_for_everyone(accelerator))


def wait_for_everyone(accelerator: Accelerator) -> None:
    """Wait until all processes arrive here, for hours if one of them downloads or computes that long.

    A process that ends breaks its connections, which the others notice at once; only one that hangs is waited for.
    """
    if accelerator.num_processes > 1:
        torch.distributed.barrier(group=_patient_group())


@cache
def _patient_group() -> Any:
    return torch.distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)


def gather_windows(windows: int, share: int, processes: int) -> Gather:
    """Return the function that concatenates the rows of a pass of so many windows, divided into shares, with gradients.

    The last processes may have fewer windows than a share, or one that does not count: rows beyond `windows` are cut.
    """
    if processes == 1:
        return lambda rows: rows

    def gather(rows: Tensor) -> Tensor:
        padded = functional.pad(rows, (0, 0) * (rows.dim() - 1) + (0, share - len(rows)))  # (share, *F)
        with warnings.catch_warnings():
            # Its successor is in a private module, under another name in each version of torch.
            warnings.simplefilter("ignore", FutureWarning)
            return torch.cat(all_gather(padded))[:windows]  # type: ignore[no-untyped-call]

    return gather


def lost_process(error: RuntimeError) -> str | None:
    """Return what an error says about the connection to another process, None if it is about something else."""
    if not re.search(r"gloo/|NCCL|c10d|ProcessGroup|TCPStore", f"{type(error).__name__} {error}"):
        return None
    first = str(error).partition("\n")[0].rpartition("] ")[2].partition(". ")[0]
    return first or type(error).__name__


@contextmanager
def report_once() -> Iterator[None]:
    """Let the first of several processes that meet an error report it, and no other."""
    try:
        with naming_faults():
            yield
    except (VsrError, PluginError, OSError):
        if process_count() > 1:
            err.quiet = not _is_first_to_report()
            # The launcher may be ending all processes already, since one of them is gone.
            signal.signal(signal.SIGTERM, signal.SIG_IGN if not err.quiet else signal.SIG_DFL)
        raise


def _is_first_to_report() -> bool:
    """Ask the store through which the processes found each other, which the launcher keeps open while they end."""
    key = f"vsr-error-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(*address, is_master=False, timeout=timedelta(seconds=5), wait_for_workers=False)
        return bool(store.add(key, 1) == 1)
    except (KeyError, ValueError, RuntimeError):
        return is_main()
