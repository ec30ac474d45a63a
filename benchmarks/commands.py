"""Running a command of vsr in a process of its own, and what it cost."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path


def run_vsr(words: list[str], cache: Path, *, watch: Callable[[int], None] = lambda process: None) -> dict[str, float]:
    """Run a command of vsr to its end; return its seconds, those of its processor time, and its peak memory in MiB.

    `watch` is called with the number of the process in a thread, while it runs. Raises SystemExit with the output of
    a command that fails.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        running = subprocess.Popen(
            [sys.executable, "-m", "vsr_cli", *words],
            stdout=output,
            stderr=output,
            env={**os.environ, "VSR_CACHE": str(cache)},
        )
        watching = threading.Thread(target=watch, args=(running.pid,))
        watching.start()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        watching.join()
        if running.returncode:
            output.seek(0)
            raise SystemExit(f"vsr {' '.join(words)}\n{output.read().decode(errors='replace')}")
        return {
            "seconds": seconds,
            "processor_seconds": usage.ru_utime + usage.ru_stime,
            "peak_mib": usage.ru_maxrss / 1024,
        }
