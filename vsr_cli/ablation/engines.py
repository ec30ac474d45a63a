"""Execution of commands: as local processes, or on a cluster through submitit or Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..console import say
from ..distributed_env import process_count
from ..errors import VsrError
from ..files.strict_json import from_json

MINUTES = 24 * 60
"""Default time limit of a cluster job; submitit's own is a few minutes."""
THREADS, GPUS = "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"
STDERR = 2
"""The file descriptor of stderr; stdout is for the result alone."""
JOB_NAME = "vsr-ablate"
OWNER = "{owner}"
"""Stands for the process that will start a command, in a command line for a cluster."""
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
            command(words, owner=os.getpid()),
            stdin=subprocess.DEVNULL,
            stdout=STDERR,
            start_new_session=True,
            check=False,
        )
        return done.returncode

    def start(self, words: Sequence[str], log: Path) -> LocalProcess:
        """Start `vsr WORDS` in the first free share of the machine."""
        slot = next(slot for slot in range(self._jobs) if slot not in self._taken)
        with log.open("ab") as output:
            process = subprocess.Popen(
                command(words, owner=os.getpid()),
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
            raise VsrError("--launcher submitit: the package is not installed; pip install 'vsr-cli[slurm]'") from error
        given = {key: _number_or_word(value) for key, value in settings.items()}
        cluster = given.pop("cluster", None)
        try:
            self._executor = submitit.AutoExecutor(folder, cluster=cluster)
            self._executor.update_parameters(**{"timeout_min": MINUTES, "name": JOB_NAME, **given})
        except (ValueError, NameError, AssertionError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise VsrError(f"--job: submitit refuses this setting ({reason}); correct it") from error

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` as a job. If it fails, the cells fail alike and report why."""
        return wait_for_first(self.start(words, log), log)

    def start(self, words: Sequence[str], log: Path) -> ClusterJob:
        """Submit `vsr WORDS` as a job."""
        return ClusterJob(self._executor.submit(run_logged, command(words, owner=OWNER), str(log)))


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


class RayTasks:
    """Tasks of a Ray cluster: that of `address`, else of RAY_ADDRESS, else one that is started on this machine."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Connect, and apply the settings of --job. Raises VsrError if ray is not installed or refuses one."""
        try:
            import ray
        except ImportError as error:
            raise VsrError("--launcher ray: the package is not installed; pip install 'vsr-cli[ray]'") from error
        given = {key: _number_or_word(value) for key, value in settings.items()}
        address = given.pop("address", None)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        self._ray: Any = ray
        try:
            if not self._ray.is_initialized():
                here: dict[str, Any] = {} if address or os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
                self._ray.init(address=address, log_to_driver=False, logging_level="ERROR", **here)
            self._task = self._ray.remote(run_logged).options(**{"num_cpus": 1, "max_retries": 0, **given})
        except (ValueError, TypeError, ConnectionError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise VsrError(f"--job: Ray refuses these settings ({reason}); correct them") from error

    def first(self, words: Sequence[str], log: Path) -> int:
        """Run `vsr WORDS` as a task. If it fails, the cells fail alike and report why."""
        return wait_for_first(self.start(words, log), log)

    def start(self, words: Sequence[str], log: Path) -> RayTask:
        """Submit `vsr WORDS` as a task, in the folder of this process, which all nodes must see."""
        line, where = command(words, owner=OWNER), (str(log.absolute()), str(Path.cwd()))
        return RayTask(self._ray, lambda: self._task.remote(line, *where))


class RayTask:
    """A task of Ray. Its outcome is in the run folder of its cell.

    It is submitted once more if Ray kills it for its memory or loses its node: training resumes from its checkpoint.
    That is not left to Ray, which submits a task killed for its memory without end.
    """

    def __init__(self, ray: Any, submit: Callable[[], Any]) -> None:
        self._ray, self._submit, self._again = ray, submit, True
        self._task = submit()

    def done(self) -> bool:
        """Whether it has ended, also by an error of Ray."""
        if not self._ray.wait([self._task], timeout=0)[0]:
            return False
        if self._again and (lost := self._why_lost()):
            self._again = False
            say(f"Ray has lost a task ({lost}), which is submitted once more")
            self._task = self._submit()
            return False
        return True

    def stop(self) -> None:
        """Interrupt it; its command gets SIGTERM, at which training writes a checkpoint and ends."""
        self._again = False
        self._ray.cancel(self._task, force=False)

    def _why_lost(self) -> str | None:
        errors = self._ray.exceptions
        try:
            self._ray.get(self._task)
        except (errors.OutOfMemoryError, errors.WorkerCrashedError, errors.NodeDiedError) as error:
            return {"OutOfMemoryError": "out of memory"}.get(type(error).__name__, "its worker or node has died")
        except errors.RayError:
            pass  # the log and the run folder say what went wrong
        return None


def make_engine(launcher: str, job: Sequence[str], *, jobs: int, folder: Path) -> Engine:
    """Return the engine of --launcher with the settings of --job; submitit keeps its files in `folder`.

    Raises VsrError if a setting is malformed or its package is not installed.
    """
    settings = job_settings(launcher, job)
    if launcher == "submitit":
        return ClusterJobs(folder, settings)
    return RayTasks(settings) if launcher == "ray" else LocalProcesses(jobs)


def check_launcher(what: str, launcher: str, job: Sequence[str]) -> None:
    """Raise VsrError for mistakes in --launcher and --job, or if `what` itself runs under a launcher."""
    refuse_launched(what)
    job_settings(launcher, job)


def refuse_launched(what: str) -> None:
    """Raise VsrError if this process is one of several that a launcher started."""
    if process_count() > 1:
        raise VsrError(f"{what}: starts its own processes, so it cannot run under a launcher; run it without")


def job_settings(launcher: str, job: Sequence[str]) -> dict[str, str]:
    """Return the parameters of submitit or Ray. Raises VsrError if one is malformed or there is no cluster."""
    settings = {}
    for text in job:
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise VsrError(f"--job {text}: not of the form key=value, e.g. --job timeout_min=60")
        settings[key] = value
    if launcher == "local" and settings:
        raise VsrError("--job: needs --launcher submitit or ray")
    return settings


def wait_for_first(job: Started, log: Path) -> int:
    """Wait for a job before all others; return 0, as its exit code is not known."""
    say(f"waiting for the first job; its log is {log}")
    try:
        while not job.done():
            time.sleep(PAUSE)
    except KeyboardInterrupt:
        job.stop()
        raise
    return 0


def command(words: Sequence[str], *, owner: str | int | None = None) -> list[str]:
    """Return the command line of `vsr WORDS` for a process that ends with its owner, `OWNER` if it is not known yet."""
    own = [] if owner is None else ["--parent", str(owner)]
    return [sys.executable, "-m", "vsr_cli", words[0], *own, *words[1:]]


def run_logged(line: Sequence[str], log: str, folder: str | None = None) -> int:
    """Run a command in a folder, appending its output to a log, and return its exit code; this process is its owner."""
    line = [str(os.getpid()) if word == OWNER else word for word in line]
    with (
        Path(log).open("ab") as output,
        subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder) as process,
    ):
        try:
            while (code := process.poll()) is None:  # not `wait`, which Ray's way to cancel a task does not interrupt
                time.sleep(PAUSE / 5)
            return code
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
