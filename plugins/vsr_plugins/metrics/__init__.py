"""Evaluation metrics of predicted texts and images: declarations; each module of this folder defines one or a few."""

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


class BertScoreOptions(Options):
    """Options of `bertscore`."""

    model: str | None = Field(None, description="a folder or hub id of an encoder of the transformers library")
    layer: int = Field(-1, description="whose layer's states are compared; -1 is the last")
    length: int = Field(256, ge=8, le=512, description="tokens of a text that are read")


class ClipScoreOptions(Options):
    """Options of `clipscore`."""

    model: str | None = Field(None, description="a folder or hub id of a CLIP of the transformers library")


class LpipsOptions(Options):
    """Options of `lpips`."""

    weights: str | None = Field(None, description="a file with the network's state dict, as torchvision publishes it")
    net: Literal["alex", "vgg"] = Field("alex", description="AlexNet or VGG-16, whose features are compared")


@hookimpl
def vsr_metrics() -> list[Component]:
    """Declare the metrics of texts, of images, in the run's embedding spaces, and by pretrained models."""
    return [
        Component(
            name="bleu",
            summary="corpus BLEU-4, 0-100 (sacrebleu)",
            build="vsr_plugins.metrics.bleu:build",
            options=BleuOptions,
        ),
        Component(
            name="rouge",
            summary="ROUGE-L F1, 0-1, with ROUGE-1 and ROUGE-2 (rouge-score)",
            build="vsr_plugins.metrics.rouge:build",
            options=RougeOptions,
        ),
        Component(
            name="meteor",
            summary="METEOR, 0-1 (nltk with WordNet 3.0, which is included)",
            build="vsr_plugins.metrics.meteor:build",
        ),
        Component(
            name="chrf",
            summary="corpus chrF, 0-100 (sacrebleu)",
            build="vsr_plugins.metrics.chrf:build",
            options=ChrfOptions,
        ),
        Component(
            name="cider",
            summary="CIDEr-D, 0-10, words weighed by how rare they are in the split's references",
            build="vsr_plugins.metrics.cider:build",
        ),
        Component(
            name="distinct-1",
            summary="distinct words over all words of all predictions",
            build="vsr_plugins.metrics.diversity:build_distinct_1",
        ),
        Component(
            name="distinct-2",
            summary="distinct pairs of words over all pairs of all predictions",
            build="vsr_plugins.metrics.diversity:build_distinct_2",
        ),
        Component(
            name="rep-4",
            summary="share of a prediction's runs of four words that it repeats",
            build="vsr_plugins.metrics.diversity:build_repetition",
        ),
        Component(
            name="context-overlap-4",
            summary="share of a prediction's runs of four words that stand in its context",
            build="vsr_plugins.metrics.diversity:build_copying",
        ),
        Component(
            name="entity-f1",
            summary="F1 of naming the context's entities that recur in the target, where the source marks them",
            build="vsr_plugins.metrics.entity_f1:build",
        ),
        Component(
            name="mse",
            summary="mean squared error of pixels in [0, 1]",
            build="vsr_plugins.metrics.pixels:build_mse",
        ),
        Component(
            name="psnr",
            summary="peak signal-to-noise ratio in dB, of all windows' mean squared error",
            build="vsr_plugins.metrics.pixels:build_psnr",
        ),
        Component(
            name="ssim",
            summary="structural similarity, Gaussian window (torchmetrics)",
            build="vsr_plugins.metrics.pixels:build_ssim",
        ),
        Component(
            name="sharpness",
            summary="how sharp predictions are, over how sharp the targets are",
            build="vsr_plugins.metrics.texture:build_sharpness",
        ),
        Component(
            name="diversity-image",
            summary="how much predictions differ between windows, over how much the targets do",
            build="vsr_plugins.metrics.texture:build_spread",
        ),
        Component(
            name="cosine-image",
            summary="cosine of the predicted and the true image in the run's visual space",
            build="vsr_plugins.metrics.embedding:build_similarity",
        ),
        Component(
            name="cosine-text",
            summary="cosine of the predicted and the true text in the run's text space",
            build="vsr_plugins.metrics.embedding:build_text_similarity",
        ),
        Component(
            name="mrr-image",
            summary="how the true image ranks among the split's targets: MRR, R@1, R@5, beside chance",
            build="vsr_plugins.metrics.embedding:build_rank",
        ),
        Component(
            name="mrr-text",
            summary="how the true text ranks among the split's targets: MRR, R@1, R@5, beside chance",
            build="vsr_plugins.metrics.embedding:build_text_rank",
        ),
        Component(
            name="bertscore",
            summary="F1 of the nearest tokens' cosines, by any encoder (--set metrics.bertscore.model=FOLDER)",
            build="vsr_plugins.metrics.bertscore:build",
            options=BertScoreOptions,
        ),
        Component(
            name="clipscore",
            summary="how a text fits the true image, by any CLIP (--set metrics.clipscore.model=FOLDER)",
            build="vsr_plugins.metrics.clipscore:build",
            options=ClipScoreOptions,
        ),
        Component(
            name="lpips",
            summary="learned perceptual distance of pictures (--set metrics.lpips.weights=FILE)",
            build="vsr_plugins.metrics.lpips:build",
            options=LpipsOptions,
        ),
    ]
