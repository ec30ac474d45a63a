"""Attribute errors to plugins: an error in a plugin's code is one line that names the plugin, and exit code 1.

Plugins are called from everywhere, so no call is wrapped: an error is inspected once, at the top of a command, by its
traceback.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from ..errors import PluginError, VsrError, one_line
from ..system_errors import is_out_of_memory

if TYPE_CHECKING:
    from .registry import Provided

MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EPIPE, errno.EROFS}
"""System errors that are not the fault of any code."""
OURS = "vsr_cli"
API = "vsr_cli.api"
"""Called by plugins: an error that arises there is the caller's."""
LOADING = "vsr_cli.plugin.loading"
SHIPPED = "vsr_plugins"
REMEDY = "report it to its authors (VSR_TRACEBACK=1 shows where)"

_plugins: dict[str, str] = {}
"""Descriptions of plugins by the name of their modules."""


def remember_code(plugin: str, distribution: str, *modules: str) -> None:
    """Record that these modules, and all below them, belong to a plugin."""
    for module in modules:
        _plugins[module] = f"plugin {plugin} ({distribution})"


def owner_of(module: str) -> str | None:
    """Return the description of the plugin that a module belongs to, or None."""
    while module:
        if module in _plugins:
            return _plugins[module]
        module = module.rpartition(".")[0]
    return None


@contextmanager
def naming_faults() -> Iterator[None]:
    """Raise PluginError instead of an error that arose in the code of a plugin."""
    try:
        yield
    except BaseException as error:
        if (fault := fault_of(error)) in (None, error):
            raise
        assert fault is not None
        raise fault from error


def fault_of(error: BaseException, *, built: Provided | None = None) -> PluginError | None:
    """Return the error as the fault of a plugin, or None if it is not.

    User errors (VsrError), interruptions and system errors are not. `built` is the component that is being built.
    """
    if isinstance(error, PluginError):
        return error
    if isinstance(error, VsrError | KeyboardInterrupt | GeneratorExit) or is_out_of_memory(error):
        return None
    if isinstance(error, OSError) and error.errno in MACHINE:
        return None
    if isinstance(error, SystemExit) and error.code in {128 + each for each in signal.Signals}:
        return None
    theirs, frame, line = _origin(error)
    if not theirs or (frame is None and built is None):
        return None
    if built is not None:
        subject, when = built.described, " while it was built"
        shipped = built.is_shipped
    else:
        assert frame is not None
        module = str(frame.f_globals.get("__name__"))
        owner = owner_of(module)
        assert owner is not None
        subject, when = owner, f" in {frame.f_code.co_name}"
        shipped = module.startswith(f"{SHIPPED}.")
    if shipped and isinstance(error, OSError):  # an error of a user's file or folder
        return None
    where = f" ({Path(frame.f_code.co_filename).name}, line {line})" if frame is not None else ""
    return PluginError(f"{subject} {_action(error)}{when}{where}{_message(error)}; {REMEDY}")


def _action(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"ended the program (exit code {error.code})"
    return f"raised {type(error).__name__}"


def _message(error: BaseException) -> str:
    try:
        message = "" if isinstance(error, SystemExit) else one_line(error)
    except Exception:  # noqa: BLE001 - the plugin's own exception class may fail here
        return ""
    return f": {message}" if message and message != type(error).__name__ else ""


def _origin(error: BaseException) -> tuple[bool, FrameType | None, int]:
    """Return whether the innermost frame outside of libraries is a plugin's, that frame, and its line.

    There is no frame for a plugin module that cannot be compiled.
    """
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    for frame, line in reversed(frames):
        module = str(frame.f_globals.get("__name__", ""))
        if owner_of(module) is not None:
            return True, frame, line
        if module == LOADING:
            return True, None, 0
        if f"{module}.".startswith(f"{OURS}.") and not f"{module}.".startswith(f"{API}."):
            return False, None, 0
    return False, None, 0
