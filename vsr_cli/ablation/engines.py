"""Execution of cells: as local processes, or as jobs of a cluster through submitit."""

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
"""Default time limit of a cluster job; submitit's own is a few minutes."""
THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"
STDERR = 2
"""The file descriptor of stderr; stdout is for the result alone."""
PAUSE = 1.0
"""Seconds between two polls of a cluster job."""


class Started(Protocol):
    """A command that was started."""

    def done(self) -> bool:
        """Whether it has ended, successfully or not."""
        ...

    def stop(self) -> None:
        """Ask it to save its state and end."""
        ...


class Engine(Protocol):
    """A way to run commands of vsr."""

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` before all others and return its exit code; 0 where that is unknown."""
        ...

    def start(self, words: Sequence[str], log: Path) -> Started:
        """Start `vsr WORDS`, appending its output to a log."""
        ...


class LocalProcess:
    """A local process."""

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
    """Up to `jobs` local processes at once, which share the cores and get the GPUs in turn."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._taken: set[int] = set()
        self._shares = _shares(jobs) if jobs > 1 else [{}]

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` with the whole machine and its output on stderr; the log stays empty."""
        # In a session of its own: Ctrl-C reaches this process alone, which ends the other and reports it once.
        done = subprocess.run(
            _owned(words), stdin=subprocess.DEVNULL, stdout=STDERR, start_new_session=True, check=False
        )
        return done.returncode

    def start(self, words: Sequence[str], log: Path) -> LocalProcess:
        """Start `vsr WORDS` in the first free share of the machine."""
        slot = next(slot for slot in range(self._jobs) if slot not in self._taken)
        with log.open("ab") as output:
            process = subprocess.Popen(
                _owned(words),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **self._shares[slot]},
            )
        self._taken.add(slot)
        return LocalProcess(process, self._taken, slot)


class ClusterJobs:
    """Jobs that submitit submits to a cluster, or runs locally with cluster=local."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Apply the settings of --job. Raises VsrError if submitit is not installed or refuses one."""
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
            raise VsrError(f"--job: submitit refuses this setting ({reason}); correct it") from error

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` as a job. If it fails, the cells fail alike and report why."""
        say(f"waiting for the first job; its log is {log}")
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
    """A cluster job. Its return value is never read: the outcome of a cell is in its run folder."""

    def __init__(self, job: Any) -> None:
        self._job = job

    def done(self) -> bool:
        """Whether it has ended, according to the cluster's queue."""
        return bool(self._job.done())

    def stop(self) -> None:
        """Cancel it."""
        self._job.cancel(check=False)


def command(words: Sequence[str]) -> list[str]:
    """Return the command line of `vsr WORDS`."""
    return [sys.executable, "-m", "vsr_cli", *words]


def _owned(words: Sequence[str]) -> list[str]:
    """Return the command line of `vsr WORDS` for a process that ends with this one."""
    return [*command(words), "--parent", str(os.getpid())]


def run_logged(line: Sequence[str], log: str) -> int:
    """Run a command, appending its output to a log, and return its exit code."""
    with (
        Path(log).open("ab") as output,
        subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output) as process,
    ):
        try:
            return process.wait()
        finally:
            process.terminate()  # if this process is asked to end


def _shares(jobs: int) -> list[dict[str, str]]:
    """Return the environment variables of each process: its number of threads and its GPU."""
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
