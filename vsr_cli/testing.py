"""Testing of plugins: the checks of `vsr plugins check` as one assertion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import VsrError
from .plugin.kinds import KIND_OF, kind_of_word


def check_component(
    name: str, *, kind: str | None = None, settings: Sequence[str] = (), source: Path | str | None = None
) -> None:
    """Assert that an installed component fulfills the contract of its kind.

    `kind`, such as "text-decoder", is needed if several kinds have a component of this name. `settings` are
    "section.key=value", as for `--set`, e.g. for small or random weights. `source` is what a dataset reads.

    Raises AssertionError with a line for each failed check, and VsrError for an unknown component or wrong settings.
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
