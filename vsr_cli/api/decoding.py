"""How a text decoder turns its scores into words: what can be chosen. `vsr_cli.api.generation` does it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .component import Options, RandomSeed

METHODS_THAT_READ: dict[str, tuple[str, ...]] = {
    "beams": ("beam",),
    "length_penalty": ("beam",),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "seed": ("sample",),
    "no_repeat_ngram": ("greedy", "beam", "sample"),
}
"""Of each option, the methods that depend on it."""


class Decoding(Options):
    """How a text decoder turns its distribution into words. An option that the method does not read is refused."""

    method: Literal["greedy", "beam", "sample"] = Field(
        "greedy", description="the likeliest token at each place, the likeliest text that a search finds, or a draw"
    )
    beams: int = Field(4, ge=1, le=1000, description="beam: unfinished texts that are kept at each place")
    length_penalty: float = Field(
        1.0,
        ge=0,
        description="beam: a text's log-probability is divided by its length to this power",
    )
    temperature: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="sample: scores are divided by it; below 1 is bolder than the model",
    )
    top_k: int = Field(0, ge=0, description="sample: draw from so many likeliest tokens; 0: from all")
    top_p: float = Field(
        1.0, gt=0, le=1, description="sample: draw from the fewest likeliest tokens that hold this probability together"
    )
    seed: RandomSeed = Field(0, description="sample: another seed draws another text from the same context")
    no_repeat_ngram: int = Field(
        0, ge=0, description="no run of so many tokens is written twice in a text; 0: any may be"
    )

    @field_validator(*METHODS_THAT_READ)
    @classmethod
    def _read_by_the_method(cls, value: object, info: ValidationInfo) -> object:
        method, readers = info.data.get("method"), METHODS_THAT_READ[str(info.field_name)]
        if method is not None and method not in readers:
            raise PydanticCustomError(
                "idle", f"{method} decoding does not read it; leave it out, or choose --decoding {readers[0]}"
            )
        return value

    def facts(self) -> dict[str, Any]:
        """Return the method and the options that it reads: all that a text depends on here."""
        read = [name for name, readers in METHODS_THAT_READ.items() if self.method in readers]
        return {"method": self.method, **{name: getattr(self, name) for name in read}}

    def label(self) -> str:
        """Return short name, fit for a folder, that no other decoding has: "greedy", "beam-beams8", "sample-seed3"."""
        plain = type(self)(method=self.method).facts()
        changed = [f"{name}{value}" for name, value in self.facts().items() if value != plain[name]]
        return "-".join([self.method, *changed])
