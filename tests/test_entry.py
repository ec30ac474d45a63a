"""Signals, closed streams and exhausted resources: exit codes and one line."""

import os
import resource
import signal
import site
import subprocess
import sys
from pathlib import Path

import pytest

from vsr_cli import entry

SIGNALLED = """
import os, sys
class AtImport:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), {number})
sys.meta_path.insert(0, AtImport())
sys.argv = ["vsr", *{words!r}]
from vsr_cli.entry import run
run()
"""
PLUGINS, PREPARE = ["plugins", "list"], ["prepare", "--set", "dataset.stories=2"]
LATE = "vsr_cli.data.preparation.prepare"
"""Imported by `vsr prepare` when it has begun."""


def start(code, folder, *, before=None, flags=(), **options):
    def listen():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if before:
            before()

    given = {"capture_output": True, "text": True, **options}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, *flags, "-c", code], cwd=folder, check=False, env=environment, preexec_fn=listen, **given
    )


@pytest.mark.parametrize(
    ("number", "words", "module"),
    [
        (signal.SIGINT, PLUGINS, "vsr_cli.plugin.discovery"),
        (signal.SIGTERM, PLUGINS, "typer"),
        (signal.SIGHUP, PLUGINS, "typer"),
        (signal.SIGINT, PREPARE, LATE),
    ],
)
def test_signal_during_imports_is_one_line(tmp_path, number, words, module):
    done = start(SIGNALLED.format(module=module, number=int(number), words=words), tmp_path)
    assert done.returncode == 128 + number
    assert done.stdout == ""
    *notes, line = done.stderr.splitlines()
    assert not [note for note in notes if note.startswith(("error: ", "Traceback"))]
    how = "interrupted" if number == signal.SIGINT else f"stopped by {number.name}"
    assert line == f"error: {how}; finished work is saved, and no file is left incomplete"


@pytest.mark.parametrize("module", ["enum", "typing", "contextlib", "vsr_cli.distributed_env", "resource"])
def test_ctrl_c_during_first_imports_is_one_line(tmp_path, module):
    """Python itself has loaded none of these, started so that it runs nothing of others."""
    path = os.pathsep.join([str(Path(entry.__file__).parents[1]), *site.getsitepackages()])
    code = SIGNALLED.format(module=module, number=int(signal.SIGINT), words=PLUGINS)
    done = start(f"import sys; sys.path[:0] = {path.split(os.pathsep)!r}\n{code}", tmp_path, flags=["-S"])
    line = "error: interrupted; finished work is saved, and no file is left incomplete\n"
    assert (done.returncode, done.stdout, done.stderr) == (130, "", line)


SWALLOWED = """
import os, time
from vsr_cli.cli import main as cli
class Deleted:
    def __del__(self):
        os.kill(os.getpid(), {number})
def command(**_):
    Deleted()
    time.sleep(20)
cli.command_line = lambda: command
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_inside_a_finalizer_is_not_lost(tmp_path, number):
    done = start(f"{SWALLOWED.format(number=int(number))}\n{MAIN.format(words=PLUGINS)}", tmp_path)
    assert done.returncode == 128 + number
    (line,) = done.stderr.splitlines()
    assert line.endswith("finished work is saved, and no file is left incomplete")


def test_ignored_signal_stays_ignored(tmp_path):
    """As nohup starts a command."""
    code = SIGNALLED.format(module="typer", number=int(signal.SIGHUP), words=["--version"])
    done = start(code, tmp_path, before=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("vsr ")


MAIN = "import sys; sys.argv = ['vsr', *{words!r}]; from vsr_cli.entry import run; run()"


ENDING = """
import atexit, sys, threading, time, weakref
from concurrent.futures import ThreadPoolExecutor
from vsr_cli.cli import main as cli
class Kept:
    pass
kept = Kept()
def late():
    time.sleep(0.2)
    print("thread")
def command(**_):
    ThreadPoolExecutor().submit(time.sleep, 0)  # left open: its threads wait for more
    threading.Thread(target=late).start()
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    weakref.finalize(kept, print, "finalizer")
    cli.left_open = open("left", "w")
    cli.left_open.write("open")
    atexit.register(print, "function")
    print("command")
    sys.stdout.write("unfinished ")
    sys.exit({code})
cli.command_line = lambda: command
"""


@pytest.mark.parametrize("code", [None, 0, 1, 2])
def test_program_ends_as_python_does(tmp_path, code):
    """All but freeing objects: threads end, what is registered runs, and what is written arrives."""
    done = start(f"{ENDING.format(code=code)}\n{MAIN.format(words=PLUGINS)}", tmp_path)
    assert (done.returncode, done.stderr) == (code or 0, "")
    assert done.stdout == "command\nunfinished thread\nfunction\nfinalizer\n"
    assert (tmp_path / "left").read_text() == "open"


CLOSING = "import sys\nfrom vsr_cli.cli import main as cli\ncli.command_line = lambda: lambda **_: sys.stdout.close()\n"


def test_stdout_that_a_plugin_has_closed_is_exit_code_1_without_a_traceback(tmp_path):
    done = start(CLOSING + MAIN.format(words=PLUGINS), tmp_path)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("words", [["--version"], ["plugins", "list"], ["train", "--temporal", "gruu"]])
def test_program_frees_nothing_at_the_end(tmp_path, words):
    """Which takes a second after torch and transformers, and is of no use."""
    freed = "import sys\nclass Freed:\n def __del__(self): print('freed')\nsys.never = Freed()\n"
    done = start(freed + MAIN.format(words=words), tmp_path)
    assert done.returncode == (2 if words[0] == "train" else 0)
    assert "freed" not in done.stdout


def closing(*descriptors):
    return lambda: [os.close(descriptor) for descriptor in descriptors]


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        (["plugins", "list", "--json"], (1,), 2),
        (["plugins", "list", "--json"], (2,), 0),
        (["plugins", "list", "--json"], (0, 1, 2), 2),
        (["train", "--temporal", "gruu"], (1,), 2),
        (["train", "--temporal", "gruu"], (0, 2), 2),
        (["--version"], (1,), 0),
    ],
)
def test_closed_stream_causes_no_traceback(tmp_path, words, closed, code):
    done = start(MAIN.format(words=words), tmp_path, before=closing(*closed))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (1 if code and 2 not in closed else 0)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("words", [["plugins", "list"], ["--help"], ["train", "--temporal", "gruu"]])
def test_closed_pipe_causes_no_traceback(tmp_path, words, stream):
    gone, end = os.pipe()
    os.close(gone)
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: end, "capture_output": False}
    done = start(MAIN.format(words=words), tmp_path, **given)
    os.close(end)
    assert "Traceback" not in (done.stderr or "")
    assert "Exception" not in (done.stderr or "")
    expected = 2 if words[0] == "train" else 1 if stream == "stdout" else 0
    assert done.returncode == expected


@pytest.mark.parametrize(
    ("limits", "raised"),
    [((64, 128), [(128, 128)]), ((64, -1), [(65_536, -1)]), ((64, 10**6), [(65_536, 10**6)]), ((10**6, 10**6), [])],
)
def test_limit_of_open_files_is_raised(monkeypatch, limits, raised):
    asked = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, wanted: asked.append(wanted))
    entry.raise_file_limit()
    assert asked == raised


FAILING = """
import sys
from vsr_cli.cli import main as cli
def fail(**_):
    raise {error}
cli.command_line = lambda: fail
cli.main()
"""


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("MemoryError", "not enough memory; close other programs"),
        ("RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory')", "not enough memory"),
        ("RuntimeError('can\\'t start new thread')", "ulimit -u"),
        ("OSError(24, 'Too many open files')", "ulimit -n"),
        ("OSError(28, 'No space left on device', '/full')", "/full: No space left on device; free some space"),
    ],
)
def test_exhausted_resource_is_one_line(tmp_path, error, says):
    done = start(FAILING.format(error=error), tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_internal_error_has_a_traceback(tmp_path):
    done = start(FAILING.format(error="RuntimeError('a mistake')"), tmp_path)
    assert "RuntimeError: a mistake" in done.stderr
