"""What the model card and the upload of a run have in common: its evaluations, its data, and what may be shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console import say, warn
from ..errors import VsrError
from ..files.atomic import read_json
from ..runs.history import read_history
from ..runs.results import STORYBOARDS, Evaluated, all_stored

if TYPE_CHECKING:
    from ..runs.run import Run

FIRST = "test"
"""The evaluation that stands first."""


@dataclass(frozen=True, kw_only=True)
class Described:
    """A run with all that its card states."""

    run: Run
    evaluations: list[Evaluated]
    """The valid ones of held-out splits, that of the test split first."""
    manifest: dict[str, Any]
    """Of the data that it was trained on; empty if that is gone."""
    stories: bool
    """Whether texts and images of the data may be shown."""

    @property
    def storyboards(self) -> Path | None:
        """The image of some predictions of the first evaluation that has one; None if there is none to show."""
        if not self.stories:
            return None
        drawn = (each.folder / STORYBOARDS for each in self.evaluations)
        return next((path for path in drawn if path.is_file()), None)

    def card(self, *, name: str | None, licence: str | None, storyboards: str | None) -> str:
        """Return the model card."""
        from ..report.card import model_card

        history = read_history(self.run.history, epochs=self.run.epochs_trained())
        return model_card(
            self.run,
            self.evaluations,
            manifest=self.manifest,
            history=history,
            name=name,
            licence=licence,
            storyboards=storyboards,
        )


def describe_run(run: Run, *, stories: bool | None) -> Described:
    """Collect what the card of a run states. `stories` is what was typed; None follows the licence of the data."""
    evaluations = []
    for found in all_stored(run.folder):
        if isinstance(found, VsrError):
            warn(f"{found}; it is left out")
        elif found.stale:
            warn(f"{found.stale}; it is left out")
        elif found.result.get("held_out", True):
            evaluations.append(found)
    if not evaluations:
        warn(f"{run.folder}: has no evaluation, so its card has no scores; make one with 'vsr evaluate'")
    evaluations.sort(key=lambda each: (each.label != FIRST, each.is_named_other, each.label))
    manifest = _manifest(run)
    return Described(run=run, evaluations=evaluations, manifest=manifest, stories=_may_show(manifest, stories))


def _manifest(run: Run) -> dict[str, Any]:
    """Read the manifest of the data that a run was trained on; empty if it is gone, or was prepared anew."""
    path = Path(run.facts()["data"]) / "manifest.json"
    try:
        found = read_json(path, what="prepared data") if path.is_file() else {}
    except VsrError:
        return {}
    return found if found.get("fingerprint") == run.config().get("data", {}).get("fingerprint") else {}


def _may_show(manifest: dict[str, Any], typed: bool | None) -> bool:
    """Return whether stories of the data are shown: as typed, or if its licence is known and allows derived works."""
    if typed is not None:
        return typed
    licence = str(manifest.get("source", {}).get("licence") or "")
    if licence and "nd" not in re.split(r"[^a-z]+", licence.lower()):
        return True
    why = f"{licence}, allows no derived works" if licence else "is not recorded"
    say(f"texts and images of the stories are left out, since the licence of the data {'is ' if licence else ''}{why}; "
        "add --storyboards if you may publish them")  # fmt: skip
    return False
