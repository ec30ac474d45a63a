"""Stands for Python in a command (see warm_python.py): asks the server for a process that runs the arguments."""

import json
import os
import resource
import signal
import socket
import sys
import time

PATIENCE = 300
"""Seconds that the server may take to import everything on a busy machine."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def connected(path: str) -> socket.socket:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            return server
        except FileNotFoundError:
            if time.monotonic() > until:
                raise
            server.close()
            time.sleep(0.02)


def main() -> None:
    _, path, *arguments = sys.argv
    ignored = [number for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN]
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in dir(resource) if name.startswith("RLIMIT_")}
    request = json.dumps(
        {
            "arguments": arguments,
            "folder": os.getcwd(),  # noqa: PTH109 - pathlib takes time to import
            "environment": dict(os.environ),
            "ignored": ignored,
            "limits": limits,
        }
    ).encode()
    server = connected(path)
    # Until the process is there, a signal ends this one as it would end a Python that still imports.
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    answers = server.makefile()
    process = int(answers.readline())
    for number in FORWARDED:
        if number not in ignored:
            signal.signal(number, lambda number, frame: os.kill(process, number))
    code = int(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code != signal.SIGKILL else None
        os.kill(os.getpid(), -code)
    os._exit(code)


main()
