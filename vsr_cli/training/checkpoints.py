"""The checkpoints of a run: the best weights, and the last ones with all that it takes to go on from them.

Going on is exact: what comes after a checkpoint is the same to the bit whether or not the process that wrote it lived
on (on the CPU, with the same number of threads).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.optim import Optimizer

from ..errors import VsrError
from ..files.atomic import replacing_folder, write_json
from ..files.checksums import write_checksums
from ..model.losses.means import LossMeans
from ..model.story_model import StoryModel
from ..model.weights import save_weights
from ..runs.history import EpochRow
from ..runs.run import WEIGHTS, Run
from .distributed import exchange_objects
from .finite import FiniteChecks
from .progress import Progress
from .state_files import load_nested, save_nested


@dataclass(frozen=True)
class Checkpoints:
    """Writes a run's checkpoints and reads its last one. Only the main process writes."""

    run: Run
    model: StoryModel
    optimizer: Optimizer
    accelerator: Accelerator
    finite: FiniteChecks

    def save_last(self, progress: Progress, row: EpochRow | None = None) -> None:
        """Write the last checkpoint, with the row of the epoch that has just ended, if one has.

        All processes call it together. Raises VsrError if a weight is not finite or the checkpoint cannot be written;
        the one before is then still there.
        """
        self.finite.weights(self.optimizer, epoch=progress.epoch)
        scaler = self.accelerator.scaler
        state = {
            "progress": asdict(progress),
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "random": exchange_objects(random_state(self.accelerator.device), self.accelerator),
        }
        if self.accelerator.is_main_process:
            with self._writing("last", row) as folder:
                save_nested(folder, "state", state)

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
        # A process that was not there before keeps the random numbers that its seed gives.
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
                f"free some space, then go on with 'vsr train --resume {self.run.folder}'"
            ) from error


def random_state(device: torch.device) -> dict[str, Any]:
    """Return the state of every generator of random numbers that training may draw from."""
    version, numbers, gauss = random.getstate()
    name, keys, *rest = np.random.get_state()
    return {
        "python": (version, torch.tensor(numbers), gauss),
        "numpy": (name, torch.from_numpy(np.asarray(keys).astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "device": torch.get_device_module(device).get_rng_state() if device.type != "cpu" else None,
    }


def set_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Set the generators to what `random_state` gave."""
    version, numbers, gauss = state["python"]
    name, keys, *rest = state["numpy"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if device.type != "cpu" and state["device"] is not None:
        torch.get_device_module(device).set_rng_state(state["device"])
