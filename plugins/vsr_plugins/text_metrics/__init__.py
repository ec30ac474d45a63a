"""Scores of predicted texts: BLEU, ROUGE and METEOR, each by the library that defines it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BleuOptions(Options):
    """Options of `bleu`."""

    tokenize: Literal["13a", "intl", "char", "none"] = Field("13a", description="sacrebleu's tokenizer")
    lowercase: bool = Field(True, description="compare in lower case, as uncased tokenizers write")
    smooth: Literal["exp", "floor", "add-k", "none"] = Field("exp", description="sacrebleu's smoothing")


class RougeOptions(Options):
    """Options of `rouge`."""

    stemmer: bool = Field(True, description="compare Porter stems instead of words")


class MeteorOptions(Options):
    """Options of `meteor`."""

    download: bool = Field(False, description="fetch WordNet through nltk where it is not installed")


@hookimpl
def vsr_metrics() -> list[Component]:
    """Give the text metrics."""
    return [
        Component(
            name="bleu",
            summary="corpus BLEU-4, 0-100 (sacrebleu)",
            build="vsr_plugins.text_metrics.bleu:build",
            options=BleuOptions,
        ),
        Component(
            name="rouge",
            summary="ROUGE-L F1, 0-1, with ROUGE-1 and ROUGE-2 (rouge-score)",
            build="vsr_plugins.text_metrics.rouge:build",
            options=RougeOptions,
        ),
        Component(
            name="meteor",
            summary="METEOR, 0-1 (nltk with WordNet)",
            build="vsr_plugins.text_metrics.meteor:build",
            options=MeteorOptions,
        ),
    ]
