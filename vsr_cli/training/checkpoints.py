"""The checkpoints of a run: the best weights, and the last ones with all that resuming needs.

Resuming is bit-exact on the CPU with the same number of threads. accelerate's `save_state` is not used: it
pickles the optimizer's and the random states, and loading a pickle may run code.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from safetensors.torch import load_file
from torch import Tensor
from torch.optim import Optimizer

from ..errors import VsrError
from ..files.atomic import read_json, replacing_folder, write_json, writing
from ..files.checksums import write_checksums
from ..model.loss_means import LossMeans
from ..model.story_model import StoryModel
from ..model.tensor_files import write_tensors
from ..model.weights import save_weights
from ..runs.history import EpochRow
from ..runs.run import WEIGHTS, Run
from ..system_errors import refuse_system_error
from .finite_checks import FiniteChecks
from .graceful_shutdown import Interrupted, StopRequest
from .progress import Progress


@dataclass(frozen=True)
class Checkpoints:
    """Writes a run's checkpoints and reads its last one. Only the main process writes."""

    run: Run
    model: StoryModel
    optimizer: Optimizer
    accelerator: Accelerator
    finite: FiniteChecks

    def save_last(self, progress: Progress, row: EpochRow | None = None) -> None:
        """Write the last checkpoint, with the row of the epoch if one has just ended. All processes call it together.

        Raises VsrError if a weight is not finite or the checkpoint cannot be written; the previous one then remains.
        """
        self.finite.weights(self.optimizer, epoch=progress.epoch)
        scaler = self.accelerator.scaler
        state = {
            "progress": asdict(progress),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": gather_object([random_state(self.accelerator.device)]),
        }
        if self.accelerator.is_main_process:
            with self._writing("last", row) as folder:
                save_nested(folder, "state", state)

    def save_if(self, progress: Progress, request: StopRequest, *, due: bool) -> bool:
        """Write the last checkpoint if it is due or a process was asked to stop, and return whether it was due.

        All processes call it together. Raises Interrupted if a process was asked to stop.
        """
        accelerator = self.accelerator
        flags = [[request.signal, int(due)]]
        if accelerator.num_processes > 1:  # a GPU would be waited for after each step
            flags = accelerator.gather(torch.tensor(flags, device=accelerator.device)).tolist()
        signal, due = max(signal for signal, _ in flags), bool(flags[0][1])  # the main process's clock counts
        if signal or due:
            self.save_last(progress)
        if signal:
            accelerator.end_training()
            raise Interrupted(signal, epoch=progress.epoch, step=progress.step)
        return due

    def save_best(self, row: EpochRow) -> None:
        """Write the best checkpoint. Raises VsrError as `save_last` does."""
        if self.accelerator.is_main_process:
            with self._writing("best", row):
                pass

    def restore_last(self) -> Progress:
        """Load everything but the weights from the last checkpoint. Raises VsrError if that cannot be done."""
        self.run.verify("last")
        folder = self.run.checkpoint("last")
        state = load_nested(folder, "state")
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None and state["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            losses = LossMeans(**state["progress"].pop("losses"))
            progress = Progress(**state["progress"], losses=losses)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise VsrError(f"{folder}: its state does not fit this version of vsr ({error}); train anew") from error
        # An additional process continues with the random numbers of its seed.
        if self.accelerator.process_index < len(state["random"]):
            set_random_state(state["random"][self.accelerator.process_index], self.accelerator.device)
        return progress

    @contextmanager
    def _writing(self, which: str, row: EpochRow | None) -> Iterator[Path]:
        place = self.run.checkpoints / which
        try:
            with replacing_folder(place, to_disk=True) as folder:
                save_weights(self.model, folder / WEIGHTS, frozen=False)
                if row is not None:
                    write_json(folder / "epoch.json", asdict(row))
                yield folder
                write_checksums(folder, (path.name for path in folder.iterdir()))
        except (OSError, VsrError) as error:
            reason = " ".join(str(error.__cause__ or error).split())
            raise VsrError(
                f"{place}: the checkpoint cannot be written ({reason}); "
                f"free some space, then continue with 'vsr train --resume {self.run.folder}'"
            ) from error


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every random number generator that training may use."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": (version, torch.tensor(numbers), gauss),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "device": torch.get_device_module(device).get_rng_state() if device.type != "cpu" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Restore what `random_state` returned."""
    version, numbers, gauss = state["python"]
    name, keys, *rest = state["numpy"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type != "cpu" and state["device"] is not None:
        torch.get_device_module(device).set_rng_state(state["device"])


def save_nested(folder: Path, name: str, value: Any) -> None:
    """Write a nested state to NAME.safetensors, its tensors, and NAME.json, all else; neither file can hold code.

    JSON has no tuples and no keys that are numbers: they are written as {"$tuple": [...]} and {"$items": [[key, value],
    ...]}, and a tensor as {"$tensor": its name in the safetensors file}.
    """
    tensors: dict[str, Tensor] = {}
    tree = _encode(value, tensors)
    path = folder / f"{name}.safetensors"
    with writing(path):
        write_tensors(tensors, path)
    write_json(folder / f"{name}.json", tree)


def load_nested(folder: Path, name: str) -> Any:
    """Read what `save_nested` wrote, tensors on the CPU. Raises VsrError if a file is missing or damaged."""
    path = folder / f"{name}.safetensors"
    tree = read_json(folder / f"{name}.json", what="the state of a training run")
    try:
        return _decode(tree, load_file(path))
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        refuse_system_error(error, path)
        raise VsrError(f"{path}: cannot be read as the state of a training run ({error}); train anew") from error


def _encode(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: _encode(item, tensors) for key, item in value.items()}
        return {"$items": [[key, _encode(item, tensors)] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, tensors) for item in value]}
    if isinstance(value, list):
        return [_encode(item, tensors) for item in value]
    assert value is None or isinstance(value, bool | int | float | str), f"cannot be written as JSON: {type(value)}"
    return value


def _decode(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(item, tensors) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if "$tensor" in tree:
        return tensors[tree["$tensor"]].clone()  # which otherwise is a view of the file, long after it is replaced
    if "$tuple" in tree:
        return tuple(_decode(item, tensors) for item in tree["$tuple"])
    if "$items" in tree:
        return {key: _decode(item, tensors) for key, item in tree["$items"]}
    return {key: _decode(item, tensors) for key, item in tree.items()}
