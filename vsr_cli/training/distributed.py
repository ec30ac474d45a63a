"""What the processes of one training tell each other. One process alone is the usual case, and tells itself.

Every process takes a share of each step's windows, computes its part of the step's gradient, and adds the parts up
before the optimizer's step, so that all hold the same weights at all times. Processes wait for each other in the
functions of this module and nowhere else, least of all inside a backward pass: one that runs out of memory can then
say so at the next of these places, and none is left waiting for it (docs/decisions/0010).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, InitProcessGroupKwargs, broadcast, gather_object
from torch import Tensor, nn

from ..config.schema import TrainingOptions
from ..console import err
from ..data.chunks import Share
from ..data.workers import WorkerGroup
from ..distributed_env import is_main, process_count
from ..errors import PluginError, VsrError
from ..model.weights import choose_device
from ..plugin.faults import naming_faults
from ..runs.run import Run
from .heartbeat import OthersLost, open_store, shares_store, wait_for_others

LONGEST_WAIT = timedelta(hours=3)
"""For the others, where they share no store: the main process may have features to compute first."""
BUCKET_BYTES = 32 * 2**20
"""Of gradients that are sent as one: few messages, and little memory beside the gradients themselves."""
SUPPORTED = ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU", "MULTI_NPU")


def start(options: TrainingOptions) -> Accelerator:
    """Join the processes that a launcher has started, if any. Raises VsrError if this is no way to share the work."""
    device = choose_device(options.device)
    accelerator = Accelerator(
        mixed_precision=_precision(options, device),
        cpu=device.type == "cpu",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=_longest_wait(options))],
    )
    if accelerator.distributed_type not in [DistributedType[name] for name in SUPPORTED]:
        raise VsrError(
            f"distributed training: {accelerator.distributed_type} is not supported; launch plain processes, "
            "e.g. 'torchrun --nproc-per-node 2 -m vsr_cli train'"
        )
    count = accelerator.num_processes
    if count != process_count():
        raise VsrError(
            f"distributed training: the launcher speaks of {process_count()} processes, but {count} "
            f"can work together on {device.type}; start them with torchrun or 'accelerate launch', on cuda or cpu"
        )
    return accelerator


def _longest_wait(options: TrainingOptions) -> timedelta:
    """Return how long a message between processes may take; all of them come to it at about the same time."""
    return timedelta(minutes=options.timeout_minutes) if shares_store() else LONGEST_WAIT


def _precision(options: TrainingOptions, device: torch.device) -> str:
    """Return the precision by the name that accelerate has for it. Raises VsrError if the device does not have it."""
    if options.precision == "fp16" and device.type == "cpu":
        raise VsrError("training.precision: a CPU does not train in fp16; use bf16, fp32 or auto")
    if options.precision in ("bf16", "fp16"):
        return options.precision
    # A GPU's kind is part of a command's setting; which instructions a processor has is not, so auto is fp32 on CPUs.
    auto = options.precision == "auto" and device.type == "cuda"
    return "bf16" if auto and torch.cuda.is_bf16_supported(including_emulation=False) else "no"


def precision_of(accelerator: Accelerator) -> str:
    """Return the name that `training.precision` has for what products are taken in."""
    return "fp32" if accelerator.mixed_precision == "no" else accelerator.mixed_precision


def same_run(run: Run | None, accelerator: Accelerator) -> Run:
    """Return every process the run that the main one has opened. Raises OthersLost."""
    folder = exchange_objects(str(run.folder) if run else None, accelerator)[0]
    assert folder, "the main process opens the run"
    return Run(Path(folder))


@contextmanager
def main_process_first(accelerator: Accelerator) -> Iterator[None]:
    """Run a block in the main process first, then in the first of each machine, then in all the others.

    What is downloaded, computed or written by it is then there for those that come later.
    """
    turn = 0 if accelerator.is_main_process else 1 if accelerator.is_local_main_process else 2
    for _ in range(turn):
        meet(accelerator)
    yield
    for _ in range(2 - turn):
        meet(accelerator)


def company_of(accelerator: Accelerator) -> WorkerGroup:
    """Return the processes as those that compute features together."""
    local = Share(accelerator.local_process_index, int(os.environ.get("LOCAL_WORLD_SIZE", accelerator.num_processes)))
    share = Share(accelerator.process_index, accelerator.num_processes)

    return WorkerGroup(share, local, wait=lambda: meet(accelerator))


def meet(accelerator: Accelerator) -> None:
    """Wait until all processes have come here, for hours where one of them has that much to do. Raises OthersLost."""
    wait_for_others()
    exchange([0.0], accelerator)


def exchange(values: Sequence[float], accelerator: Accelerator) -> list[list[float]]:
    """Tell all processes some numbers (n,), and learn everyone's: (processes, n). Raises OthersLost."""
    if accelerator.num_processes == 1:
        return [list(values)]
    own = torch.tensor([values], dtype=torch.float64, device=accelerator.device)
    with _reaching_others():
        everyones: list[list[float]] = accelerator.gather(own).tolist()
    return everyones


def gather_equal(own: Tensor, accelerator: Accelerator) -> Tensor:
    """Return everyone's tensors (processes, *F), of which each process has one of the same shape. Raises OthersLost."""
    with _reaching_others():
        everyones: Tensor = accelerator.gather(own.contiguous()[None])
    return everyones


def exchange_objects(value: Any, accelerator: Accelerator) -> list[Any]:
    """Tell all processes something, and learn what each of them tells. Raises OthersLost."""
    with _reaching_others():
        everyones: list[Any] = gather_object([value])
    return everyones


def copy_main(module: nn.Module, accelerator: Accelerator) -> None:
    """Make a module's weights and buffers those of the main process. Raises OthersLost."""
    if accelerator.num_processes > 1:
        meet(accelerator)
        with _reaching_others():
            broadcast(list(module.state_dict().values()))


def add_gradients(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace each process's gradient by the sum of all. Raises OthersLost."""
    if accelerator.num_processes == 1:
        return
    parameters = list(parameters)
    # A process without windows in this step has no gradients; a parameter that nobody used keeps having none.
    used = exchange([float(parameter.grad is not None) for parameter in parameters], accelerator)
    bucket: list[nn.Parameter] = []
    for parameter, users in zip(parameters, zip(*used, strict=True), strict=True):
        if not any(users):
            continue
        if bucket and (parameter.dtype != bucket[0].dtype or _bytes(bucket) + parameter.nbytes > BUCKET_BYTES):
            _add_bucket(bucket, accelerator)
            bucket = []
        bucket.append(parameter)
    if bucket:
        _add_bucket(bucket, accelerator)


def _bytes(bucket: list[nn.Parameter]) -> int:
    return sum(parameter.nbytes for parameter in bucket)


def _add_bucket(bucket: list[nn.Parameter], accelerator: Accelerator) -> None:
    own = [torch.zeros_like(item) if item.grad is None else item.grad for item in bucket]
    flat = torch.cat([gradient.reshape(-1) for gradient in own])
    with _reaching_others():
        flat = accelerator.reduce(flat, "sum")
    for item, gradient in zip(bucket, flat.split([item.numel() for item in bucket]), strict=True):
        item.grad = gradient.view_as(item)


@contextmanager
def _reaching_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of which torch.distributed's own errors are kinds
        first = str(error).partition("\n")[0].rpartition("] ")[2].partition(". ")[0]
        raise OthersLost(first or type(error).__name__) from error


@contextmanager
def report_once() -> Iterator[None]:
    """Of several processes that meet an error, let the first one tell of it and no other."""
    try:
        with naming_faults():
            yield
    except (VsrError, PluginError, OSError):
        if process_count() > 1:
            err.quiet = not _is_first_to_speak()
            # The launcher may be ending all processes already, since one of them is gone.
            signal.signal(signal.SIGTERM, signal.SIG_IGN if not err.quiet else signal.SIG_DFL)
        raise


def _is_first_to_speak() -> bool:
    """Ask the store through which the processes found each other: the launcher keeps it while they end."""
    key = f"vsr-error-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}"
    try:
        return bool(open_store(seconds=5.0).add(key, 1) == 1)
    except (KeyError, ValueError, RuntimeError):
        return is_main()
