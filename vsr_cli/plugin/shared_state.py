"""Shared state that plugins must not change: torch's defaults and random seed, standard streams, working directory.

A change is undone and reported with the name of the plugin: a default dtype of float64 would change the results of all
other components, and a new random seed would repeat random numbers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..errors import PluginError

MARK = b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15"
"""Replaces the seed in the state of torch's generator while plugin code runs: setting any seed overwrites it.

Random numbers do not depend on it: they follow from the rest of the state.
"""


@dataclass(frozen=True)
class _Fact:
    """An item of shared state: its name, and how it is read and set."""

    what: str
    read: Callable[[], Any]
    write: Callable[[Any], object]


def _set_signal(number: int) -> Callable[[Any], object]:
    return lambda handler: signal.signal(number, handler)


_OF_PYTHON = (
    _Fact("the working folder", os.getcwd, os.chdir),
    _Fact("sys.stdout", lambda: sys.stdout, lambda stream: setattr(sys, "stdout", stream)),
    _Fact("sys.stderr", lambda: sys.stderr, lambda stream: setattr(sys, "stderr", stream)),
)
_OF_THE_MAIN_THREAD = (
    _Fact("the handler of SIGINT", lambda: signal.getsignal(signal.SIGINT), _set_signal(signal.SIGINT)),
    _Fact("the handler of SIGTERM", lambda: signal.getsignal(signal.SIGTERM), _set_signal(signal.SIGTERM)),
)


def _of_torch(torch: Any) -> tuple[_Fact, ...]:
    cudnn = torch.backends.cudnn

    def determinism() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    return (
        _Fact("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
        _Fact(
            "torch's default device",
            torch.get_default_device,
            # None: without the device mode of torch, which costs time.
            lambda device: torch.set_default_device(None if device.type == "cpu" else device),
        ),
        _Fact("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
        _Fact(
            "torch's deterministic algorithms",
            determinism,
            lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
        ),
        _Fact("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
        _Fact("torch's anomaly detection", torch.is_anomaly_enabled, lambda on: torch.autograd.set_detect_anomaly(on)),
        _Fact("cudnn.benchmark", lambda: cudnn.benchmark, lambda on: setattr(cudnn, "benchmark", on)),
        _Fact("cudnn.deterministic", lambda: cudnn.deterministic, lambda on: setattr(cudnn, "deterministic", on)),
        _Fact("torch's float32 precision", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    )


class SharedState:
    """A snapshot of the shared state, to compare with later."""

    def __init__(self) -> None:
        self._facts = list(_OF_PYTHON)
        if threading.current_thread() is threading.main_thread():
            self._facts += _OF_THE_MAIN_THREAD
        self._torch: Any = sys.modules.get("torch")
        self._random: Any = None
        if self._torch is not None:
            self._facts += _of_torch(self._torch)
        self._values = [fact.read() for fact in self._facts]
        if self._torch is not None:
            self._random = self._torch.get_rng_state()
            self._torch.set_rng_state(_with_seed(self._random, MARK, self._torch))

    def check(self, who: str) -> None:
        """Undo changes, and raise PluginError, naming who made them, if there are any."""
        changed = self._undo()
        if self._torch is not None and self._torch.initial_seed() != int.from_bytes(MARK, sys.byteorder):
            changed.append("torch's random seed")
            self._torch.set_rng_state(_with_seed(self._random, MARK, self._torch))
        if changed:
            raise PluginError(
                f"{who} changes {' and '.join(changed)}, which is shared by the whole program; undo it before "
                "returning, e.g. by torch.random.fork_rng(), or report it to its authors"
            )

    def close(self) -> None:
        """Restore the seed of torch's generator."""
        if self._torch is None:
            return
        state = self._torch.get_rng_state()
        marked = bytes(state[: len(MARK)].tolist()) == MARK
        self._torch.set_rng_state(
            _with_seed(state, bytes(self._random[: len(MARK)].tolist()), self._torch) if marked else self._random
        )

    def _undo(self) -> list[str]:
        """Undo all changes except the random seed, and return their names."""
        changed = []
        if self._torch is None and (torch := sys.modules.get("torch")) is not None:  # imported in between
            fresh = {"dtype": torch.float32, "device": torch.device("cpu"), "gradient mode": True}
            known = {f"torch's {'' if what == 'gradient mode' else 'default '}{what}": fresh[what] for what in fresh}
            found = {fact.what: fact for fact in _of_torch(torch)}
            self._torch, self._random = torch, torch.get_rng_state()
            self._torch.set_rng_state(_with_seed(self._random, MARK, torch))
            self._facts += [found[what] for what in known]
            self._values += known.values()
        for fact, before in zip(self._facts, self._values, strict=True):
            try:
                now = fact.read()
            except OSError:  # the working folder is gone
                now = None
            if now is not before and now != before:
                changed.append(fact.what)
                fact.write(before)
        return changed


def _with_seed(state: Any, seed: bytes, torch: Any) -> Any:
    """Return a state of torch's generator with other first bytes, which hold the seed."""
    marked = state.clone()
    marked[: len(seed)] = torch.frombuffer(bytearray(seed), dtype=torch.uint8)
    return marked


@contextmanager
def shared_state(who: str) -> Iterator[SharedState]:
    """Raise PluginError, naming `who`, if the block changes shared state; inside, `check` names others."""
    state = SharedState()
    try:
        yield state
        state.check(who)
    finally:
        state.close()
        state._undo()
