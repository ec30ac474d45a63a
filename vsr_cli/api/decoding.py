"""Options of text generation: greedy decoding, beam search, sampling or minimum Bayes risk decoding.

The first three are implemented in `vsr_cli.api.generation`; minimum Bayes risk decoding selects among samples of any
text decoder, in `vsr_cli.model.mbr`.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from .component import Options, RandomSeed

METHODS_THAT_USE: dict[str, tuple[str, ...]] = {
    "beams": ("beam",),
    "length_penalty": ("beam",),
    "temperature": ("sample", "mbr"),
    "top_k": ("sample", "mbr"),
    "top_p": ("sample", "mbr"),
    "seed": ("sample", "mbr"),
    "samples": ("mbr",),
    "utility": ("mbr",),
    "context_weight": ("mbr",),
    "context_candidates": ("mbr",),
    "no_repeat_ngram": ("greedy", "beam", "sample", "mbr"),
}
"""The methods that use each option, for the text. The image decoder may use the seed whatever the method."""


class Decoding(Options):
    """Options of text generation, and the random seed of the image. An option that is not used is refused."""

    method: Literal["greedy", "beam", "sample", "mbr"] = Field(
        "greedy", description="greedy decoding, beam search, sampling, or minimum Bayes risk decoding"
    )
    beams: int = Field(4, ge=1, le=1000, description="beam: number of beams")
    length_penalty: float = Field(
        1.0,
        ge=0,
        le=10,
        description="beam: log-probabilities are divided by the length to this power",
    )
    temperature: float = Field(
        1.0,
        ge=0.01,
        le=100,
        description="sample, mbr: scores are divided by it; below 1 sharpens the distribution",
    )
    top_k: int = Field(0, ge=0, description="sample, mbr: sample from this many likeliest tokens; 0: from all")
    top_p: float = Field(
        1.0, gt=0, le=1, description="sample, mbr: sample from the fewest likeliest tokens with this total probability"
    )
    seed: RandomSeed = Field(0, description="random seed of sampled texts and of generated images")
    samples: int = Field(8, ge=2, le=1000, description="mbr: number of sampled texts")
    utility: Literal["meteor", "embedding", "both"] = Field(
        "meteor",
        description="mbr: similarity of two texts: METEOR of words, cosine in the run's text space, or their mean",
    )
    context_weight: float = Field(
        1.0, ge=0, le=1000, description="mbr: weight of each context text as a reference; a sample has weight 1"
    )
    context_candidates: bool = Field(
        False, description="mbr: whether the context texts can be selected, and samples that repeat them"
    )
    no_repeat_ngram: int = Field(0, ge=0, description="no n-gram of this length occurs twice in a text; 0: no limit")

    @field_validator(*METHODS_THAT_USE.keys() - {"seed"})  # the seed of generated images may be set for each method
    @classmethod
    def _used_by_the_method(cls, value: object, info: ValidationInfo) -> object:
        method, users = info.data.get("method"), METHODS_THAT_USE[str(info.field_name)]
        if method is not None and method not in users:
            raise PydanticCustomError(
                "idle", f"{method} decoding does not use it; leave it out, or set decoding.method={users[0]}"
            )
        return value

    def facts(self) -> dict[str, Any]:
        """Return the method and the options that it uses; the seed of a method without samples only if it is set."""
        used = [
            name for name, users in METHODS_THAT_USE.items() if self.method in users or (name == "seed" and self.seed)
        ]
        return {"method": self.method, **{name: getattr(self, name) for name in used}}

    @property
    def is_random(self) -> bool:
        """Whether the text depends on the seed."""
        return self.method in METHODS_THAT_USE["seed"]

    def label(self) -> str:
        """Return a unique short name, fit for a file name: "greedy", "beam-beams8", "sample-seed3"."""
        plain = type(self)(method=self.method).facts()
        changed = [
            f"{name}{str(value).lower() if isinstance(value, bool) else value}"
            for name, value in self.facts().items()
            if value != plain.get(name)
        ]
        return "-".join([self.method, *changed])


def sample_decodings(decoding: Decoding) -> list[Decoding]:
    """Return the decoding of each sample of minimum Bayes risk decoding: sampling, each with a seed of its own.

    The seeds are hashes of the seed of `decoding` and the index of the sample. So two seeds share no samples, and
    more samples leave the first ones as they are.
    """
    assert decoding.method == "mbr", "only minimum Bayes risk decoding has samples"
    shared = {name: value for name, value in decoding.facts().items() if "sample" in METHODS_THAT_USE.get(name, ())}
    return [
        Decoding.model_validate({**shared, "method": "sample", "seed": _seed_of_sample(decoding.seed, index)})
        for index in range(decoding.samples)
    ]


def alternative_decodings(decoding: Decoding, count: int) -> list[Decoding]:
    """Return the decoding itself, and others that differ from it in the seed alone: hashes of its seed and the index.

    More alternatives leave the first ones as they are.
    """
    seeds = [_seed_of_sample(decoding.seed, index) for index in range(1, count)]
    return [decoding, *(decoding.model_copy(update={"seed": seed}) for seed in seeds)]


def _seed_of_sample(seed: int, index: int) -> int:
    digest = hashlib.sha256(f"{seed} {index}".encode()).digest()
    return int.from_bytes(digest[:4], "big")  # the range of RandomSeed
