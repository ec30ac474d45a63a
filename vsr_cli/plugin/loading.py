"""Build components: the first import of the heavy code of a plugin."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from typing import Any

from ..api import FrozenSource, Options, Requirement
from ..errors import VsrError
from .faults import fault_of, remember_code
from .kinds import KIND_OF
from .registry import Provided
from .shared_state import shared_state


def load_builder(entry: Provided) -> Callable[..., Any]:
    """Import the `build` function of a component. Raises VsrError if its plugin's code cannot be imported."""
    return _load(entry, entry.component.build)


def requirements(entry: Provided, options: Options) -> list[Requirement]:
    """Return the missing requirements of a component. Raises VsrError if its plugin's code cannot be imported."""
    target = entry.component.requires
    return list(_load(entry, target)(options)) if target else []


def frozen_source(entry: Provided, options: Options) -> FrozenSource | None:
    """Return what the frozen half of an encoder is made from. Raises VsrError if its code cannot be imported."""
    target = entry.component.frozen_source
    found: FrozenSource | None = _load(entry, target)(options) if target else None
    return found


def _load(entry: Provided, target: str) -> Callable[..., Any]:
    try:
        builder = pkgutil.resolve_name(target)
    except (ImportError, AttributeError) as error:
        raise VsrError(
            f"{KIND_OF[entry.section].title} '{entry.component.name}': {target} of plugin {entry.plugin} "
            f"({entry.distribution}) cannot be imported: {error}; reinstall that package"
        ) from error
    if not callable(builder):
        raise VsrError(
            f"{KIND_OF[entry.section].title} '{entry.component.name}': {target} of plugin {entry.plugin} "
            f"is not a function; report it to the authors of {entry.distribution}"
        )
    return builder  # type: ignore[no-any-return]


def build(entry: Provided, options: Options, *context: Any) -> Any:
    """Build a component from its options and, for a component of a model, its BuildContext.

    Raises VsrError for a user error, and PluginError, naming the component, if its code raises anything else, exits, or
    changes shared state.
    """
    remember_code(entry.plugin, entry.distribution, entry.component.build.partition(":")[0])
    try:
        with shared_state(entry.described):
            return load_builder(entry)(options, *context)
    except BaseException as error:
        if (fault := fault_of(error, built=entry)) in (None, error):
            raise
        assert fault is not None
        raise fault from error
