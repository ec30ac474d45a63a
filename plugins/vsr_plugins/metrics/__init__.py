"""Evaluation metrics of predicted texts and images: declarations; each module of this folder defines one or a few."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vsr_cli.api import Component, Options, hookimpl


class BleuOptions(Options):
    """Options of `bleu` and of `bleu-lower`."""

    tokenize: Literal["auto", "13a", "intl", "zh", "char", "none"] = Field(
        "auto", description="sacrebleu's tokenizer; 'auto': by the scripts of the references, 13a for English"
    )
    smooth: Literal["exp", "floor", "add-k", "none"] = Field("exp", description="sacrebleu's smoothing")


class RougeOptions(Options):
    """Options of `rouge`."""

    stemmer: bool = Field(True, description="compare English Porter stems instead of words in Latin letters")


class ChrfOptions(Options):
    """Options of `chrf`."""

    lowercase: bool = Field(True, description="compare in lower case, as uncased tokenizers write")
    word_order: int = Field(0, ge=0, le=2, description="maximum order of word n-grams; 2 is chrF++")


class BertScoreOptions(Options):
    """Options of `bertscore`."""

    model: str | None = Field(None, description="a folder or hub id of an encoder of the transformers library")
    layer: int = Field(-1, description="layer whose states are compared; -1 is the last")
    length: int = Field(256, ge=8, le=512, description="maximum number of tokens of a text")


class ClipScoreOptions(Options):
    """Options of `clipscore`."""

    model: str | None = Field(None, description="a folder or hub id of a CLIP of the transformers library")


class ClipImageOptions(Options):
    """Options of `clip-image`."""

    model: str | None = Field(None, description="a folder or hub id of a CLIP of the transformers library")


class FidOptions(Options):
    """Options of `fid`."""

    weights: str | None = Field(None, description="the file of Inception's weights that torch-fidelity publishes")


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
            name="bleu-lower",
            summary="the same in lower case, as uncased tokenizers write",
            build="vsr_plugins.metrics.bleu:build_lower",
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
            summary="CIDEr-D, 0-10, with document frequencies of the split's references",
            build="vsr_plugins.metrics.cider:build",
        ),
        Component(
            name="distinct-1",
            summary="distinct words divided by all words, of all predictions",
            build="vsr_plugins.metrics.diversity:build_distinct_1",
        ),
        Component(
            name="distinct-2",
            summary="distinct bigrams divided by all bigrams, of all predictions",
            build="vsr_plugins.metrics.diversity:build_distinct_2",
        ),
        Component(
            name="rep-4",
            summary="share of a prediction's 4-grams that already occurred in it",
            build="vsr_plugins.metrics.diversity:build_rep_4",
        ),
        Component(
            name="context-overlap-4",
            summary="share of a prediction's 4-grams that occur in its context",
            build="vsr_plugins.metrics.diversity:build_context_overlap",
        ),
        Component(
            name="entity-f1",
            summary="F1 of mentioning the context's entities that recur in the target, where the source marks entities",
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
            summary="sharpness of predictions divided by that of the targets",
            build="vsr_plugins.metrics.texture:build_sharpness",
        ),
        Component(
            name="diversity-image",
            summary="variation of predictions between windows, divided by that of the targets",
            build="vsr_plugins.metrics.texture:build_spread",
        ),
        Component(
            name="cosine-image",
            summary="cosine of the predicted and the true image in the space of the run's visual encoder",
            build="vsr_plugins.metrics.embedding:build_cosine_image",
        ),
        Component(
            name="cosine-text",
            summary="cosine of the predicted and the true text in the space of the run's text encoder",
            build="vsr_plugins.metrics.embedding:build_cosine_text",
        ),
        Component(
            name="mrr-image",
            summary="rank of the true image among the split's targets: MRR, R@1, R@5, with chance levels",
            build="vsr_plugins.metrics.embedding:build_mrr_image",
        ),
        Component(
            name="mrr-text",
            summary="rank of the true text among the split's targets: MRR, R@1, R@5, with chance levels",
            build="vsr_plugins.metrics.embedding:build_mrr_text",
        ),
        Component(
            name="frechet-visual",
            summary="Fréchet distance of all predicted and all true images in the space of the run's visual encoder",
            build="vsr_plugins.metrics.frechet:build",
        ),
        Component(
            name="fid",
            summary="Fréchet Inception distance, with torchmetrics' InceptionV3 (--set metrics.fid.weights=FILE)",
            build="vsr_plugins.metrics.fid:build",
            options=FidOptions,
        ),
        Component(
            name="context-similarity",
            summary="similarity of predicted images to those of their context, divided by that of the targets",
            build="vsr_plugins.metrics.embedding:build_context_similarity",
        ),
        Component(
            name="bertscore",
            summary="BERTScore F1 with any encoder (--set metrics.bertscore.model=FOLDER)",
            build="vsr_plugins.metrics.bertscore:build",
            options=BertScoreOptions,
        ),
        Component(
            name="clipscore",
            summary="CLIPScore of a text and the true image, with any CLIP (--set metrics.clipscore.model=FOLDER)",
            build="vsr_plugins.metrics.clip:build",
            options=ClipScoreOptions,
        ),
        Component(
            name="clip-image",
            summary="cosine of the predicted and the true image in any CLIP (--set metrics.clip-image.model=FOLDER)",
            build="vsr_plugins.metrics.clip:build_image",
            options=ClipImageOptions,
        ),
        Component(
            name="lpips",
            summary="learned perceptual distance of images (--set metrics.lpips.weights=FILE)",
            build="vsr_plugins.metrics.lpips:build",
            options=LpipsOptions,
        ),
    ]
