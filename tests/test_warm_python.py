"""Warm processes behave as Python's own."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .warm_python import warm_python

FACTS = """
import os, resource, signal, sys
handlers = [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)]
print(sys.argv, __name__, os.getcwd(), os.environ["WORD"], sys.path[:2], handlers, sys.stdin.read(), file=sys.stderr)
print(resource.getrlimit(resource.RLIMIT_FSIZE), sys.stdout.line_buffering, "vsr_cli" in sys.modules)
"""


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("sys.exit('a line')", 1),
        ("import atexit; atexit.register(print, 'later')", 0),
        ("1 / 0", 1),
        ("os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
    ],
)
def test_program_finds_and_ends_as_in_python(tmp_path: Path, end: str, code: int):
    (tmp_path / "program.py").write_text(f"{FACTS}\n{end}\n")

    def run(*python: str) -> tuple[int, str, list[str]]:
        environment = {**os.environ, "PYTHONPATH": "/one", "WORD": "é"}
        done = subprocess.run(
            [*python, "program.py", "a word"],
            cwd=tmp_path,
            env=environment,
            input="typed",
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 20_000)),
        )
        said = done.stderr.splitlines()
        return done.returncode, done.stdout, [*said[:1], *said[-1:]]

    warm = run(*warm_python())
    assert warm == run(sys.executable)
    assert warm[0] == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_signal_reaches_the_process(tmp_path: Path, number: int):
    (tmp_path / "program.py").write_text("import os, time; print(os.getpid(), flush=True); time.sleep(600)")
    started = subprocess.Popen([*warm_python(), tmp_path / "program.py"], stdout=subprocess.PIPE, text=True)
    assert started.stdout
    process = int(started.stdout.readline())
    started.send_signal(number)
    assert started.wait() == -number
    until = time.monotonic() + 60
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
