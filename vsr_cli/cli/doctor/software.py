"""What `vsr doctor` finds of the installation: packages, extras and plugins. Imports none of the packages."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from importlib.metadata import requires
from importlib.util import find_spec
from pathlib import Path

from packaging.requirements import Requirement

from ... import __version__
from ...api.requirements import installed_version
from ...plugin.registry import Registry
from ...quantities import counted
from .finding import Finding

DISTRIBUTION = "vsr-cli"
SHOWN = ("torch", "torchvision", "transformers", "accelerate", "datasets", "huggingface-hub", "numpy", "pillow")
"""Packages that have a line of their own; of the others only those that are missing or too old."""


def software(registry: Registry) -> list[Finding]:
    """Return what is installed, what is missing, and which plugins cannot be used."""
    return [
        Finding(group="versions", name="vsr", value=f"{__version__}, Python {platform.python_version()}"),
        *_packages(),
        torch_and_torchvision(*(_version_in_code(name) for name in ("torch", "torchvision"))),
        *_extras(),
        *_plugins(registry),
    ]


def _packages() -> Iterator[Finding]:
    for needed in _requirements():
        if needed.marker is None:
            found = check_package(needed, installed_version(needed.name))
            if found.state != "ok" or needed.name in SHOWN:
                yield found


def check_package(needed: Requirement, installed: str | None) -> Finding:
    """Return whether a package that vsr needs is installed in a version that it works with."""
    remedy = f"pip install '{needed}'"
    if installed is None:
        return Finding(group="versions", name=needed.name, state="problem", value="not installed", remedy=remedy)
    if not needed.specifier.contains(installed, prereleases=True):
        value = f"{installed}, but vsr needs {needed.specifier}"
        return Finding(group="versions", name=needed.name, state="problem", value=value, remedy=remedy)
    return Finding(group="versions", name=needed.name, value=installed)


def torch_and_torchvision(torch: str | None, torchvision: str | None) -> Finding:
    """Return whether torch and torchvision are builds for the same device, such as "+cpu" or "+cu132".

    If they are not, torchvision's compiled operators do not load.
    """
    group, name = "versions", "torch build"
    remedy = "install both in one command: pip install --force-reinstall torch torchvision"
    if torch is None or torchvision is None:
        return Finding(group=group, name=name, state="problem", value="cannot be determined", remedy=remedy)
    builds = [text.partition("+")[2] or "no device named" for text in (torch, torchvision)]
    if builds[0] != builds[1]:
        value = f"torch is built for {builds[0]}, torchvision for {builds[1]}"
        return Finding(group=group, name=name, state="problem", value=value, remedy=remedy)
    return Finding(group=group, name=name, value=f"{builds[0]}, the same for torchvision")


def _version_in_code(package: str) -> str | None:
    """Return the version with the device of a build, which package metadata may lack; the package is not imported."""
    try:
        found = find_spec(package)
        text = (Path(str(found and found.origin)).parent / "version.py").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return installed_version(package)
    match = re.search(r"^__version__ = '([^']+)'", text, re.M)
    return match[1] if match else installed_version(package)


def _extras() -> Iterator[Finding]:
    """Return for each extra whether its packages are installed."""
    of_extra: dict[str, list[str]] = {}
    for needed in _requirements():
        match = re.search(r"extra == ['\"]([\w-]+)['\"]", str(needed.marker or ""))
        if match:
            of_extra.setdefault(match[1], []).append(needed.name)
    for extra, names in sorted(of_extra.items()):
        found = {name: installed_version(name) for name in names}
        if all(found.values()):
            value = ", ".join(f"{name} {number}" for name, number in found.items())
            yield Finding(group="extras", name=extra, value=value)
        else:
            lacking = ", ".join(name for name, number in found.items() if number is None)
            remedy = f"pip install '{DISTRIBUTION}[{extra}]'"
            value = f"{lacking} not installed"
            yield Finding(group="extras", name=extra, state="absent", value=value, remedy=remedy)


def _plugins(registry: Registry) -> Iterator[Finding]:
    packages = sorted({entry.distribution for entry in registry.provided})
    for package in packages:
        count = sum(entry.distribution == package for entry in registry.provided)
        yield Finding(group="plugins", name=package, value=counted(count, "component"))
    for broken in registry.broken:
        yield Finding(
            group="plugins",
            name=broken.plugin,
            state="problem",
            value=f"not used: {broken.reason}",
            remedy=f"update or uninstall {broken.distribution}, or set VSR_DISABLE_PLUGINS={broken.plugin}",
        )
    for name in registry.disabled:
        yield Finding(group="plugins", name=name, state="absent", value="disabled by VSR_DISABLE_PLUGINS")


def _requirements() -> list[Requirement]:
    return [Requirement(line) for line in requires(DISTRIBUTION) or ()]
