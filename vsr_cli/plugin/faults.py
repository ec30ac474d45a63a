"""Whose fault an error is. What a plugin raises is one line that names it and exit code 1, wherever it was called from.

Plugins are called from everywhere, so nothing is wrapped: an error is looked at once, at the top of a command, and its
traceback tells in whose code it arose.
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
"""Errors of the system that are nobody's code's fault."""
OURS = "vsr_cli"
LENT = "vsr_cli.api"
"""What of ours plugins call: an error that arises there is the caller's."""
LOADING = "vsr_cli.plugin.loading"
SHIPPED = "vsr_plugins"
REMEDY = "report it to its authors (VSR_TRACEBACK=1 shows where)"

_plugins: dict[str, str] = {}
"""Which plugin the code of a package belongs to, in words, by the package's name."""


def remember_code(plugin: str, distribution: str, *modules: str) -> None:
    """Note that the code of these modules, and of all below them, is a plugin's."""
    for module in modules:
        _plugins[module] = f"plugin {plugin} ({distribution})"


def owner_of(module: str) -> str | None:
    """Return the plugin that a module's code belongs to, in words; None where it is no plugin's."""
    while module:
        if module in _plugins:
            return _plugins[module]
        module = module.rpartition(".")[0]
    return None


@contextmanager
def naming_faults() -> Iterator[None]:
    """Raise PluginError in place of an error in the block that arose in a plugin's code and is its fault."""
    try:
        yield
    except BaseException as error:
        if (fault := fault_of(error)) in (None, error):
            raise
        assert fault is not None
        raise fault from error


def fault_of(error: BaseException, *, built: Provided | None = None) -> PluginError | None:
    """Return the error as the fault of a plugin, or None where it is not one's.

    A user's mistake (VsrError), an interruption and what the machine refuses are no faults. `built` is the component
    whose code is being imported or built, whatever it is.
    """
    if isinstance(error, PluginError):
        return error
    if isinstance(error, VsrError | KeyboardInterrupt | GeneratorExit) or is_out_of_memory(error):
        return None
    if isinstance(error, OSError) and error.errno in MACHINE:
        return None
    if isinstance(error, SystemExit) and error.code in {128 + each for each in signal.Signals}:
        return None
    theirs, frame, line = _arose(error)
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
    if shipped and isinstance(error, OSError):  # of a user's file or folder
        return None
    where = f" ({Path(frame.f_code.co_filename).name}, line {line})" if frame is not None else ""
    return PluginError(f"{subject} {_what(error)}{when}{where}{_words(error)}; {REMEDY}")


def _what(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"ended the program (exit code {error.code})"
    return f"raised {type(error).__name__}"


def _words(error: BaseException) -> str:
    try:
        words = "" if isinstance(error, SystemExit) else one_line(error)
    except Exception:  # noqa: BLE001 - an exception class of the plugin's own may fail at this too
        return ""
    return f": {words}" if words and words != type(error).__name__ else ""


def _arose(error: BaseException) -> tuple[bool, FrameType | None, int]:
    """Return whether a plugin's code is the innermost that is not a library's, its frame where there is one, its line.

    A module of a plugin that cannot even be compiled has no frame.
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
        if f"{module}.".startswith(f"{OURS}.") and not f"{module}.".startswith(f"{LENT}."):
            return False, None, 0
    return False, None, 0
