"""Scores of predicted texts: against their references, by the libraries that define them, and on their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BleuOptions(Options):
    """Options of `bleu`."""

    tokenize: Literal["auto", "13a", "intl", "zh", "char", "none"] = Field(
        "auto", description="sacrebleu's tokenizer; 'auto': by the scripts of the references, 13a for English"
    )
    lowercase: bool = Field(True, description="compare in lower case, as uncased tokenizers write")
    smooth: Literal["exp", "floor", "add-k", "none"] = Field("exp", description="sacrebleu's smoothing")


class RougeOptions(Options):
    """Options of `rouge`."""

    stemmer: bool = Field(True, description="compare English Porter stems instead of words in Latin letters")


class ChrfOptions(Options):
    """Options of `chrf`."""

    lowercase: bool = Field(True, description="compare in lower case, as uncased tokenizers write")
    word_order: int = Field(0, ge=0, le=2, description="the longest run of words that counts too; 2 is chrF++")


@hookimpl
def vsr_metrics() -> list[Component]:
    """Return the text metrics."""
    return [
        Component(
            name="bleu",
            summary="corpus BLEU-4, 0-100 (sacrebleu)",
            build="vsr_plugins.metrics.text.bleu:build",
            options=BleuOptions,
        ),
        Component(
            name="rouge",
            summary="ROUGE-L F1, 0-1, with ROUGE-1 and ROUGE-2 (rouge-score)",
            build="vsr_plugins.metrics.text.rouge:build",
            options=RougeOptions,
        ),
        Component(
            name="meteor",
            summary="METEOR, 0-1 (nltk with WordNet 3.0, which is included)",
            build="vsr_plugins.metrics.text.meteor:build",
        ),
        Component(
            name="chrf",
            summary="corpus chrF, 0-100 (sacrebleu)",
            build="vsr_plugins.metrics.text.chrf:build",
            options=ChrfOptions,
        ),
        Component(
            name="cider",
            summary="CIDEr-D, 0-10, words weighed by how rare they are in the split's references",
            build="vsr_plugins.metrics.text.cider:build",
        ),
        Component(
            name="distinct-1",
            summary="distinct words over all words of all predictions",
            build="vsr_plugins.metrics.text.diversity:build_distinct_1",
        ),
        Component(
            name="distinct-2",
            summary="distinct pairs of words over all pairs of all predictions",
            build="vsr_plugins.metrics.text.diversity:build_distinct_2",
        ),
        Component(
            name="repetition",
            summary="share of a prediction's runs of four words that it repeats",
            build="vsr_plugins.metrics.text.diversity:build_repetition",
        ),
        Component(
            name="copying",
            summary="share of a prediction's runs of four words that stand in its context",
            build="vsr_plugins.metrics.text.diversity:build_copying",
        ),
    ]
