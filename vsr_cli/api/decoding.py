"""Options of text generation: greedy decoding, beam search or sampling, implemented in `vsr_cli.api.generation`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .component import Options, RandomSeed

METHODS_THAT_USE: dict[str, tuple[str, ...]] = {
    "beams": ("beam",),
    "length_penalty": ("beam",),
    "temperature": ("sample",),
    "top_k": ("sample",),
    "top_p": ("sample",),
    "seed": ("sample",),
    "no_repeat_ngram": ("greedy", "beam", "sample"),
}
"""The methods that use each option."""


class Decoding(Options):
    """Options of text generation. An option that the method does not use is refused."""

    method: Literal["greedy", "beam", "sample"] = Field(
        "greedy", description="greedy decoding, beam search, or sampling"
    )
    beams: int = Field(4, ge=1, le=1000, description="beam: number of beams")
    length_penalty: float = Field(
        1.0,
        ge=0,
        description="beam: log-probabilities are divided by the length to this power",
    )
    temperature: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="sample: scores are divided by it; below 1 sharpens the distribution",
    )
    top_k: int = Field(0, ge=0, description="sample: sample from this many likeliest tokens; 0: from all")
    top_p: float = Field(
        1.0, gt=0, le=1, description="sample: sample from the fewest likeliest tokens with this total probability"
    )
    seed: RandomSeed = Field(0, description="sample: random seed")
    no_repeat_ngram: int = Field(0, ge=0, description="no n-gram of this length occurs twice in a text; 0: no limit")

    @field_validator(*METHODS_THAT_USE)
    @classmethod
    def _used_by_the_method(cls, value: object, info: ValidationInfo) -> object:
        method, users = info.data.get("method"), METHODS_THAT_USE[str(info.field_name)]
        if method is not None and method not in users:
            raise PydanticCustomError(
                "idle", f"{method} decoding does not use it; leave it out, or choose --decoding {users[0]}"
            )
        return value

    def facts(self) -> dict[str, Any]:
        """Return the method and the options that it uses."""
        used = [name for name, users in METHODS_THAT_USE.items() if self.method in users]
        return {"method": self.method, **{name: getattr(self, name) for name in used}}

    def label(self) -> str:
        """Return a unique short name, fit for a file name: "greedy", "beam-beams8", "sample-seed3"."""
        plain = type(self)(method=self.method).facts()
        changed = [f"{name}{value}" for name, value in self.facts().items() if value != plain[name]]
        return "-".join([self.method, *changed])
