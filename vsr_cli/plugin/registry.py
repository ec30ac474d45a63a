"""The registry of components, and lookup by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..api import Component
from ..config.renamed import COMPONENTS as RENAMED
from ..errors import VsrError, nearest
from .kinds import KIND_OF, KINDS, Kind


@dataclass(frozen=True)
class Provided:
    """A component and its origin."""

    section: str
    component: Component
    plugin: str
    """Name of the plugin: that of its entry point."""
    distribution: str
    """The installed package and its version, e.g. "vsr-cli 0.1.0"."""

    @property
    def described(self) -> str:
        """The component and its origin in words."""
        return f"{KIND_OF[self.section].title} '{self.component.name}' of plugin {self.plugin} ({self.distribution})"

    @property
    def is_shipped(self) -> bool:
        """Whether it is part of this package."""
        return self.component.build.startswith("vsr_plugins.")


@dataclass(frozen=True)
class Broken:
    """A plugin that could not be loaded, and why."""

    plugin: str
    distribution: str
    reason: str


@dataclass(frozen=True)
class Registry:
    """The result of discovery."""

    provided: tuple[Provided, ...]
    broken: tuple[Broken, ...] = ()
    disabled: tuple[str, ...] = ()
    """Plugins disabled by VSR_DISABLE_PLUGINS."""
    _by_name: dict[tuple[str, str], list[Provided]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[tuple[str, str], list[Provided]] = {}
        for entry in self.provided:
            by_name.setdefault((entry.section, entry.component.name), []).append(entry)
        object.__setattr__(self, "_by_name", by_name)

    def names(self, section: str) -> list[str]:
        """Return the sorted names of the components of one kind."""
        return sorted(name for kind, name in self._by_name if kind == section)

    def find(self, section: str, name: str) -> Provided:
        """Return the one component of a kind that has this name.

        Raises VsrError with the nearest names if there is none, or if two plugins provide it.
        """
        found = self._by_name.get((section, name), [])
        if len(found) > 1:
            plugins = " and ".join(f"{entry.plugin} ({entry.distribution})" for entry in found)
            raise VsrError(
                f"{KIND_OF[section].title} '{name}': provided by {plugins}; "
                f"uninstall one, or set VSR_DISABLE_PLUGINS={found[-1].plugin}"
            )
        if not found:
            if new_name := RENAMED.get(section, {}).get(name):
                raise VsrError(f"{KIND_OF[section].title} '{name}': is now called {new_name}; use that name")
            elsewhere = [kind.title for kind in KINDS if (kind.section, name) in self._by_name]
            hint = f" (it is the name of a {elsewhere[0]})" if elsewhere else ""
            if any(entry.plugin == name for entry in self.broken):
                hint += " (a plugin of this name is broken: see 'vsr plugins list')"
            raise VsrError(
                f"{KIND_OF[section].title} '{name}': there is none of this name{hint}; "
                f"{nearest(name, self.names(section))}"
            )
        return found[0]

    def find_all(self, name: str, *, kind: Kind | None = None) -> list[Provided]:
        """Return the components, of any kind or of one, that have this name. Raises VsrError if there is none."""
        entries = [entry for entry in self.provided if kind is None or entry.section == kind.section]
        found = [entry for entry in entries if entry.component.name == name]
        if not found:
            names = {entry.component.name for entry in entries}
            renamed = [new for section, old in RENAMED.items() if (new := old.get(name)) and new in names]
            if renamed:
                hint = f"it is now called {renamed[0]}"
            else:
                hint = nearest(name, names, otherwise=f"'vsr plugins list{f' {kind.word}' if kind else ''}' lists them")
            raise VsrError(f"{kind.title if kind else 'component'} '{name}': there is none of this name; {hint}")
        return found
