"""What `vsr doctor` finds of the pretrained weights of each preset. No server is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...config.experiment import resolve_train
from ...config.presets import preset_facts, preset_names
from ...config.resolve import preset_layer
from ...errors import VsrError, one_line
from ...plugin.registry import Registry
from ...plugin.requirements import find_requirements
from .finding import Finding

GROUP = "weights of presets"


def weights(registry: Registry) -> list[Finding]:
    """Return for each preset whether all that it downloads is on this machine, else how to get it."""
    with _without_downloads():
        return [_of_preset(registry, name) for name in preset_names()]


def _of_preset(registry: Registry, name: str) -> Finding:
    try:
        config = resolve_train(registry, preset=name, layers=[preset_layer(name)])
        lacking = find_requirements(config.parts.items())
    except VsrError as error:  # a component of it is in a plugin that cannot be used
        return Finding(
            group=GROUP, name=name, state="problem", value=one_line(error), remedy="see what the plugins need"
        )
    if not lacking:
        value = "all on this machine" if preset_facts(name).download[:1].isdigit() else "none needed"
        return Finding(group=GROUP, name=name, value=value)
    options = [option for each in lacking.values() for option in re.findall(r"--set (\S+=[A-Z]+)", each.remedy)]
    remedies = [f"'vsr prepare --preset {name}' and 'vsr train' download them once"]
    remedies += [each.remedy for each in lacking.values() if each.remedy.startswith("pip ")]
    if options:
        remedies.append(f"without a network, name local ones with --set {' --set '.join(dict.fromkeys(options))}")
    value = "missing: " + "; ".join(what.partition(": ")[2] for what in lacking)
    return Finding(group=GROUP, name=name, state="absent", value=value, remedy="; ".join(remedies))


@contextmanager
def _without_downloads() -> Iterator[None]:
    """Look things up in the caches alone within the block."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
