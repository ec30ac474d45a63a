"""For the tests of a plugin: the checks of `vsr plugins check`, as one assertion. Light until it is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import VsrError
from .plugin.kinds import KIND_OF, kind_of_word


def check_component(
    name: str, *, kind: str | None = None, settings: Sequence[str] = (), source: Path | str | None = None
) -> None:
    """Assert that an installed component keeps what its kind promises.

    `kind` is one such as "text-decoder", and is needed where components of several kinds have the name. `settings` are
    "section.key=value", as for `--set`: weights that are small or random, where the defaults would fetch some. `source`
    is what a dataset reads.

    Raises AssertionError with a line for each promise that is broken, and VsrError if there is no such component, or
    the settings are mistaken.
    """
    from .plugin.discovery import registry
    from .plugin_checks.check import check

    found = registry()
    entries = found.find_all(name, kind=kind_of_word(kind) if kind else None)
    if len(entries) > 1:
        kinds = " and ".join(KIND_OF[entry.section].title for entry in entries)
        raise VsrError(f"component '{name}': several have this name ({kinds}); say which by kind=")
    outcomes = check(found, entries[0], assignments=settings, source=None if source is None else str(source))
    failed = [str(outcome) for outcome in outcomes if not outcome.passed]
    if failed:
        raise AssertionError("\n".join([f"{name}: {len(failed)} checks failed", *failed]))
