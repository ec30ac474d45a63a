"""What runs the cells of an ablation: processes of this machine, or jobs of a cluster through submitit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..console import say
from ..errors import VsrError
from ..files.strict_json import from_json

MINUTES = 24 * 60
"""That a job of a cluster may take, where --job says nothing else; submitit's own default is a few."""
THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"
STDERR = 2
"""The file descriptor: stdout is for the result alone."""
PAUSE = 1.0
"""Seconds between two looks at a cluster's job."""


class Started(Protocol):
    """A command that was started."""

    def done(self) -> bool:
        """Whether it has ended, however that was."""
        ...

    def stop(self) -> None:
        """Ask it to keep what it has and to end."""
        ...


class Engine(Protocol):
    """A way to run commands of vsr."""

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` to its end before all others, and give its exit code; 0 where that is not known."""
        ...

    def start(self, words: Sequence[str], log: Path) -> Started:
        """Start `vsr WORDS`. What it says is added to a log."""
        ...


class LocalProcess:
    """A process of this machine."""

    def __init__(self, process: subprocess.Popen[bytes], taken: set[int], slot: int) -> None:
        self._process, self._taken, self._slot = process, taken, slot

    def done(self) -> bool:
        """Whether it has ended; its share of the machine is then free."""
        if self._process.poll() is None:
            return False
        self._taken.discard(self._slot)
        return True

    def stop(self) -> None:
        """Send SIGTERM, at which training writes a checkpoint and ends."""
        if self._process.poll() is None:
            self._process.terminate()


class LocalProcesses:
    """So many processes at once, among which this machine's cores are divided and its GPUs dealt out."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._taken: set[int] = set()
        self._shares = _shares(jobs) if jobs > 1 else [{}]

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` with the whole machine, in sight of whoever watches; the log stays empty."""
        # In a session of its own, Ctrl-C reaches this process alone, which ends that one and tells of it once.
        done = subprocess.run(
            _owned(words), stdin=subprocess.DEVNULL, stdout=STDERR, start_new_session=True, check=False
        )
        return done.returncode

    def start(self, words: Sequence[str], log: Path) -> LocalProcess:
        """Start `vsr WORDS` in the first share of the machine that is free."""
        slot = next(slot for slot in range(self._jobs) if slot not in self._taken)
        with log.open("ab") as said:
            process = subprocess.Popen(
                _owned(words),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env={**os.environ, **self._shares[slot]},
            )
        self._taken.add(slot)
        return LocalProcess(process, self._taken, slot)


class ClusterJobs:
    """Jobs that submitit hands to a cluster, or runs here where the cluster is called local."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Take what --job says. Raises VsrError if submitit is not installed or knows no such setting."""
        try:
            import submitit
        except ImportError as error:
            raise VsrError(
                "--launcher submitit: the package is not installed; install it with: pip install submitit"
            ) from error
        given = {key: _number_or_word(value) for key, value in settings.items()}
        cluster = given.pop("cluster", None)
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster)
            self._executor.update_parameters(**{"timeout_min": MINUTES, "name": "vsr-ablate", **given})
        except (ValueError, NameError, AssertionError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise VsrError(f"--job: submitit does not take this ({reason}); correct it") from error

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` as a job. Where it fails, those that follow meet the same, and say so."""
        say(f"waiting for the first job; what it says is in {log}")
        job = self.start(words, log)
        try:
            while not job.done():
                time.sleep(PAUSE)
        except KeyboardInterrupt:
            job.stop()
            raise
        return 0

    def start(self, words: Sequence[str], log: Path) -> ClusterJob:
        """Submit `vsr WORDS` as a job."""
        return ClusterJob(self._executor.submit(run_logged, command(words), str(log)))


class ClusterJob:
    """A job of a cluster. What it gives back is never read: a cell's outcome lies in its run folder."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def done(self) -> bool:
        """Whether it has ended, as far as the cluster's queue tells."""
        return bool(self._job.done())

    def stop(self) -> None:
        """Cancel it."""
        self._job.cancel(check=False)


def command(words: Sequence[str]) -> list[str]:
    """Return `vsr WORDS` as a process is started."""
    return [sys.executable, "-m", "vsr_cli", *words]


def _owned(words: Sequence[str]) -> list[str]:
    """Return `vsr WORDS` for a process that ends with this one."""
    return [*command(words), "--parent", str(os.getpid())]


def run_logged(line: Sequence[str], log: str) -> int:
    """Run a command to its end and give its exit code. What it says is added to a log."""
    with (
        Path(log).open("ab") as said,
        subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as ran,
    ):
        try:
            return ran.wait()
        finally:
            ran.terminate()  # where this process is itself asked to end


def _shares(jobs: int) -> list[dict[str, str]]:
    """Divide the cores among so many processes, and deal out the GPUs, as their environments say it."""
    import torch

    threads = {} if THREADS in os.environ else {THREADS: str(max(1, torch.get_num_threads() // jobs))}
    named = [name.strip() for name in os.environ.get(GPUS, "").split(",") if name.strip()]
    gpus = (named or [str(number) for number in range(torch.cuda.device_count())]) if torch.cuda.is_available() else []
    return [threads | ({GPUS: gpus[slot % len(gpus)]} if gpus else {}) for slot in range(jobs)]


def _number_or_word(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text
