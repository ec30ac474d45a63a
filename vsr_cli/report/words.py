"""What a report says of an evaluation, for pages and Markdown alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..runs.results import Evaluated
from .verdicts import short

LEFT_OUT = "left_out"
"""Among the leaks: how many windows are left out in all."""
MEANING_OF_FLOOR = {
    "copy-last": "the last picture and text of the story, said again",
    "nearest": "what followed in the training story whose beginning is most alike",
    "typical": "the most typical text and the mean picture of the training stories",
    "mean-context": "the mean of the four frames that were given, in the run's own space",
    "copy-last-centred": "the last frame, less the training mean, in the run's own space",
    "mean-context-centred": "the mean of the four frames, less the training mean, in the run's own space",
    "shuffled": "the same model, given the beginning of another story",
}


def how_predicted(evaluated: Evaluated) -> str:
    """Say how the predictions came about: those of others are taken as they are."""
    return "predicted elsewhere" if evaluated.facts.get("mode") == "given" else "free-running"


def described_floors(evaluated: Evaluated) -> dict[str, str]:
    """Return the floors of an evaluation with what each does, as far as that is known."""
    names = dict.fromkeys(name for cell in evaluated.available.values() for name in cell["floors"])
    return {name: MEANING_OF_FLOOR.get(name, "") for name in names}


def leaks_found(leaks: Mapping[str, int]) -> dict[str, int]:
    """Return how many windows leak, by reason, without the reasons of which there are none."""
    return {reason.replace("_", " "): n for reason, n in leaks.items() if n and reason != LEFT_OUT}


def teacher_forced_numbers(result: Mapping[str, Any]) -> dict[str, str]:
    """Return the losses and the perplexity that were measured with teacher forcing, by name; none where none were."""
    block = result.get("teacher_forced")
    if not block:
        return {}
    losses = {name if name == "loss" else f"{name} loss": value for name, value in block["losses"].items()}
    return {name: short(value) for name, value in {**losses, "perplexity": block["perplexity"]}.items()}
