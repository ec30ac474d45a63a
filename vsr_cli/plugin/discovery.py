"""Discover plugins by their entry points. A broken plugin costs one warning line.

Each plugin is loaded, registered and called in its own `try`; pluggy's `load_setuptools_entrypoints` has no such
isolation. A plugin counts as a whole or not at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import EntryPoint, entry_points

import pluggy

from ..api import Component
from ..errors import PluginError, nearest
from . import hookspecs
from .faults import remember_code
from .kinds import KINDS
from .registry import Broken, Provided, Registry
from .shared_state import shared_state

GROUP = "vsr.plugins"
DISABLE_VARIABLE = "VSR_DISABLE_PLUGINS"


class BrokenPluginError(Exception):
    """A plugin declares something wrong; the message is for its author."""


@cache
def registry() -> Registry:
    """Discover the installed plugins once per process. VSR_DISABLE_PLUGINS=a,b disables plugins by name."""
    names = os.environ.get(DISABLE_VARIABLE, "").split(",")
    return discover(entry_points(group=GROUP), disabled={name.strip() for name in names if name.strip()})


def discover(points: Iterable[EntryPoint], *, disabled: set[str]) -> Registry:
    """Load each entry point that is not disabled. Never raises for what a plugin does, SystemExit included."""
    provided: list[Provided] = []
    broken: list[Broken] = []
    disabled_names: list[str] = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        if point.name in disabled:
            disabled_names.append(point.name)
            continue
        distribution = "no distribution"
        try:
            if point.dist:
                distribution = f"{point.dist.name} {point.dist.version}"
            # Output of a plugin must not precede the JSON of a command.
            with redirect_stdout(sys.stderr), shared_state(f"plugin {point.name}"):
                components = _components(point)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - a plugin may raise anything; a Rust panic is not an Exception
            broken.append(Broken(point.name, distribution, _reason(error)))
            continue
        remember_code(point.name, distribution, point.module)
        provided += [Provided(section, item, point.name, distribution) for section, item in components]
    return Registry(tuple(provided), tuple(broken), tuple(disabled_names))


def _components(point: EntryPoint) -> list[tuple[str, Component]]:
    manager = pluggy.PluginManager("vsr")
    manager.add_hookspecs(hookspecs)
    plugin = point.load()
    manager.register(plugin, name=point.name)  # raises for a hook whose arguments are not the specification's
    _check_hook_names(manager)
    found: list[tuple[str, Component]] = []
    for kind in KINDS:
        caller = getattr(manager.hook, kind.hook)
        answers = caller()
        if len(answers) < len(caller.get_hookimpls()):  # pluggy leaves out answers that are None
            raise BrokenPluginError(f"{kind.hook} returned None, not a list of components")
        for answer in answers:
            if isinstance(answer, Component) or not isinstance(answer, Iterable):
                raise BrokenPluginError(f"{kind.hook} returned {type(answer).__name__}, not a list of components")
            for item in answer:
                if not isinstance(item, Component):
                    raise BrokenPluginError(f"{kind.hook} returned a {type(item).__name__} among its components")
                found.append((kind.section, item))
    if not found:
        raise BrokenPluginError("it declares no component; mark its functions with @vsr_cli.api.hookimpl")
    return found


def _check_hook_names(manager: pluggy.PluginManager) -> None:
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = [kind.hook for kind in KINDS]
        unknown = [
            caller.name
            for plugin in manager.get_plugins()
            for caller in manager.get_hookcallers(plugin) or []
            if caller.name not in known
        ]
        raise BrokenPluginError(f"unknown hook {unknown[0]}; {nearest(unknown[0], known)}") from error


def _reason(error: BaseException) -> str:
    """Return the error as one line."""
    if isinstance(error, BrokenPluginError | PluginError):
        return str(error)
    try:
        text = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - the plugin's own exception class may fail here
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
