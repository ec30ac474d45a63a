"""Python processes that need not import the slow libraries: `[*warm_python(), "-m", "vsr_cli", "train"]` is a command.

torch and what it loads take five of the six seconds of a small training in a process of its own. The processes here are
forks of a server that has imported those libraries and nothing of vsr, which each imports anew. What is started is a
small client (`warm_client.py`) that passes its arguments, folder, environment, streams and limits to the server. It
passes on signals, ends as its fork ends, and takes the fork with it if it is killed.

Tests of the start itself, and of what is imported, start Python as usual.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

LIBRARIES = (
    *("torch", "torch._dynamo", "torch.distributed.run", "torch.distributed.tensor", "accelerate"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "numpy", "pandas", "PIL.Image", "pyarrow.compute"),
    *("pyarrow.parquet", "safetensors.torch", "tokenizers"),
)
CLIENT = Path(__file__).with_name("warm_client.py")
HEADER = 8
"""Bytes of the length before each request."""
STREAMS = 3


@functools.cache
def warm_python() -> tuple[str, ...]:
    """Return the words that stand for `python`. The server of this process starts with the first call."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))
    server = subprocess.Popen([sys.executable, __file__, folder / "socket"], stdin=subprocess.PIPE)
    _serving.append(server)  # whose stdin closes when this process ends; then it ends, too
    return (sys.executable, "-I", "-S", str(CLIENT), str(folder / "socket"))


def torchrun() -> tuple[str, ...]:
    """Return the words that start two such processes, whose arguments follow, as torch's launcher does."""
    python = warm_python()
    return (*python, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python", *python)


_serving: list[subprocess.Popen[bytes]] = []


def serve(path: Path) -> list[str]:
    """Fork for each request until stdin is closed. Return, in a fork alone, the arguments that Python has there."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()  # or the first collection in a fork would copy the memory of all that
    # It gets its name when it listens, so that a client never finds one that does not.
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path.with_suffix(".new")))
    listening.listen()
    path.with_suffix(".new").rename(path)
    woken, wake = socket.socketpair()
    for each in (woken, wake):
        each.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    forks: dict[int, socket.socket] = {}
    """The client of each process."""
    while True:
        ready = select.select([0, listening, woken, *forks.values()], [], [])[0][0]
        if ready == 0:
            for child in forks:
                os.kill(child, signal.SIGKILL)
            with contextlib.suppress(OSError):
                path.unlink()
                path.parent.rmdir()
            os._exit(0)
        elif ready is listening:
            client, _ = listening.accept()
            request, streams = receive(client)
            child = os.fork()
            if child == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (listening, woken, wake, client, *forks.values()):
                    each.close()
                return begin(request, streams)
            for stream in streams:
                os.close(stream)
            client.sendall(f"{child}\n".encode())
            forks[child] = client
        elif ready is woken:
            woken.recv(1000)
            for child in [*forks]:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    with contextlib.suppress(OSError), forks.pop(child) as client:
                        client.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
        else:  # a client that is gone, and its process with it
            child = next(child for child, client in forks.items() if client is ready)
            forks.pop(child).close()
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def receive(client: socket.socket) -> tuple[dict, list[int]]:
    header, streams, _, _ = socket.recv_fds(client, HEADER, STREAMS)
    with client.makefile("rb") as rest:
        return json.loads(rest.read(int.from_bytes(header, "big"))), streams


def begin(request: dict, streams: list[int]) -> list[str]:
    """Become the process that was asked for, except for what it runs."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(STREAMS, 1 + max(*streams, 1000))
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for name, limits in request["limits"].items():
        resource.setrlimit(getattr(resource, name), limits)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else usual)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode, errors = "w" if number else "r", "backslashreplace" if name == "stderr" else "strict"
        unbuffered = number > 0 and bool(os.environ.get("PYTHONUNBUFFERED"))
        binary = open(number, f"{mode}b", buffering=0 if unbuffered else -1, closefd=False)  # noqa: SIM115
        lines = name == "stderr" or (number > 0 and os.isatty(number))
        stream = io.TextIOWrapper(binary, errors=errors, line_buffering=lines, write_through=unbuffered)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    return request["arguments"]


def run(arguments: list[str]) -> None:
    """Run what `python ARGUMENTS` does, in this process. An option before the program is not supported."""
    how, *rest = arguments
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if how == "-m":
        sys.argv = rest
        sys.path[:1] = [str(Path.cwd()), *paths]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[:1] = [str(Path(how).parent.absolute()), *paths]
        runpy.run_path(how, run_name="__main__")


def end(code: object) -> NoReturn:
    """End as Python does, but leave what was imported to the system, which is faster."""
    atexit._run_exitfuncs()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    arguments = serve(Path(sys.argv[1]))
    try:
        run(arguments)
    except SystemExit as ended:
        end(ended.code)
    except BaseException as error:  # noqa: BLE001 - as Python's own end of a program
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        end(1)
    end(None)
