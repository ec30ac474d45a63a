"""Processes that measure texts, so that metrics in pure Python use every core.

A worker builds the same metrics from the same options, reads the same references and measures the same batches, so the
statistics are those of one process to the last bit. Parent and worker exchange lines of JSON. A worker is a program of
its own (`python -m vsr_cli.evaluation.text_workers`) that imports no torch; unlike a process of `multiprocessing` it
does not run a caller's script again. This module imports none either.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..api import Metric, ReadsReferences, Sample
from ..distributed_env import usable_cores
from ..files.strict_json import from_json, to_json
from ..plugin.discovery import registry
from ..plugin.loading import build

if TYPE_CHECKING:
    from ..config.resolve import Choice
    from ..plugin.registry import Provided

WORTHWHILE = 500
"""Windows up to which one process is as fast: a worker takes about a second of processor time to start."""
WINDOWS_PER_WORKER = 250
Texts = tuple[str, Sequence[str], str, str]
"""Of a window: its story, the context's texts, the predicted and the true text."""
Measured = dict[str, NDArray[np.float64]]
"""The statistics (n, S) of a batch of n windows, by metric."""


def texts_only(metric: object) -> bool:
    """Return whether a metric reads nothing of a sample but its texts."""
    return not getattr(metric, "reads_images", True) and not getattr(metric, "reads_mentions", False)


class TextWorkers:
    """Workers that measure batches while the caller does something else."""

    def __init__(self, batches: Sequence[Callable[[], list[Texts]]]) -> None:
        self._batches = batches
        self._measured: list[Measured | None] = [None] * len(batches)
        self._next = iter(range(len(batches)))
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def start(self, count: int, opening: Mapping[str, Any], advance: Callable[[int], None]) -> None:
        """Begin to measure in `count` processes; `advance` is called with the index of each batch that is measured."""
        for _ in range(count):
            # -P: the working folder is no place for modules. Errors are the caller's to report: it measures again.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "vsr_cli.evaluation.text_workers"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                encoding="utf-8",
            )
            self._processes.append(process)
            self._threads.append(threading.Thread(target=self._feed, args=(process, opening, advance), daemon=True))
            self._threads[-1].start()

    def join(self) -> list[Measured] | None:
        """Wait, and return the statistics of all batches in order; None if a worker has failed."""
        for thread in self._threads:
            thread.join()
        measured = [each for each in self._measured if each is not None]
        return measured if len(measured) == len(self._measured) else None

    def end(self) -> None:
        """End the processes, which are idle by now or of no more use."""
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with suppress(OSError):  # what was not sent is not missed
                    stream.close()

    def _feed(self, process: subprocess.Popen[str], opening: Mapping[str, Any], advance: Callable[[int], None]) -> None:
        """Send batches to a worker, one after the other, until there are no more or the worker has ended."""
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None
        try:
            _send(requests, opening)
            while True:
                with self._lock:
                    index = next(self._next, None)
                if index is None:
                    return
                batch = self._batches[index]()
                _send(requests, batch)
                answer = from_json(answers.readline())
                self._measured[index] = {name: _decoded(rows, windows=len(batch)) for name, rows in answer.items()}
                advance(index)
        except (OSError, ValueError):  # it has ended, or was interrupted in the middle of a line
            return


@contextmanager
def text_workers(
    choices: Sequence[Choice],
    references: Sequence[str],
    batches: Sequence[Callable[[], list[Texts]]],
    *,
    advance: Callable[[int], None],
) -> Iterator[TextWorkers | None]:
    """Start to measure batches by the chosen metrics in other processes; None where that is not worthwhile.

    The processes have ended when the block is left, however it is left.
    """
    count = min(usable_cores(), len(references) // WINDOWS_PER_WORKER)
    if not choices or len(references) <= WORTHWHILE or count < 2 or not sys.executable:
        yield None
        return
    metrics = [
        {"name": choice.name, "from": _source(choice.provided), "options": choice.options.model_dump(mode="json")}
        for choice in choices
    ]
    workers = TextWorkers(batches)
    try:
        workers.start(count, {"metrics": metrics, "references": list(references)}, advance)
        yield workers
    finally:
        workers.end()


def _source(provided: Provided) -> list[str]:
    """Return where a metric comes from: another plugin's metric of the same name has other scores."""
    return [provided.plugin, provided.distribution, provided.component.build]


def _send(stream: IO[str], message: object) -> None:
    stream.write(to_json(message) + "\n")
    stream.flush()


def _encoded(rows: NDArray[np.float64]) -> str:
    """Return statistics (n, S) as hexadecimal digits: exact, and JSON has no NaN."""
    assert rows.dtype == np.float64, "the parent makes float64 of all"
    return rows.tobytes().hex()


def _decoded(digits: str, *, windows: int) -> NDArray[np.float64]:
    """Return the statistics (n, S) of n windows. Raises ValueError if there is not the same number for each."""
    return np.frombuffer(bytes.fromhex(digits), np.float64).reshape(windows, -1)


def _work(requests: IO[str], answers: IO[str]) -> None:
    """Measure the batches that are requested, until there are no more."""
    opening = from_json(requests.readline())
    metrics: dict[str, Metric] = {}
    for name, source, options in (entry.values() for entry in opening["metrics"]):
        provided = registry().find("metrics", name)
        assert _source(provided) == source, "another plugin is installed here"
        metric = build(provided, provided.component.options.model_validate(options))
        if isinstance(metric, ReadsReferences):
            metric.read_references(opening["references"])
        metrics[name] = metric
    no_image = np.zeros((0, 0, 3), np.uint8)
    for line in requests:
        samples = [
            Sample(
                story=story,
                context_texts=tuple(context),
                predicted_text=predicted,
                reference_text=reference,
                predicted_image=no_image,
                reference_image=no_image,
            )
            for story, context, predicted, reference in from_json(line)
        ]
        measured = {name: metric.measure(samples) for name, metric in metrics.items()}
        _send(answers, {name: _encoded(rows) for name, rows in measured.items()})


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    answers, sys.stdout = sys.stdout, sys.stderr  # a plugin may print
    _work(sys.stdin, answers)
