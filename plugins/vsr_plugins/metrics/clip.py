"""CLIPScore, and the similarity of images, with any CLIP of the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Sample

from . import ClipImageOptions, ClipScoreOptions
from .pretrained import load

WEIGHT = 2.5
"""Hessel et al. (2021): brings the cosines that occur to about 0-1."""


class ClipScore(MeanOfWindows):
    """The mean over windows of 2.5 max(cosine, 0) between the predicted text and the true image (Hessel et al., 2021).

    Another score is that of the predicted image with the predicted text: how well the two halves fit each other. The
    statistics (n, 2) are these two.
    """

    scale = "0-2.5, higher is better; of one model only"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, model: Any, processor: Any, options: ClipScoreOptions) -> None:
        self._model = model.eval()
        self._processor = processor
        processor.tokenizer.split_special_tokens = True  # "<|endoftext|>" in a text is text
        self.signature = f"model:{options.model}|w:{WEIGHT}|agg:mean|version:transformers-{version('transformers')}"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the two scores of each window, (n, 2)."""
        import torch

        if not samples:
            return np.empty((0, 2))
        images = [each.reference_image for each in samples] + [each.predicted_image for each in samples]
        inputs = self._processor(
            text=[each.predicted_text for each in samples],
            images=images,
            padding=True,
            truncation=True,
            return_tensors="pt",
        )
        with torch.inference_mode():
            output = self._model(**inputs)
        text = torch.nn.functional.normalize(output.text_embeds.float(), dim=-1)  # (n, d)
        image = torch.nn.functional.normalize(output.image_embeds.float(), dim=-1)  # (2n, d)
        cosines = (image.reshape(2, len(samples), -1) * text).sum(-1).T  # (n, 2)
        scores: NDArray[np.float64] = (WEIGHT * cosines.clamp(min=0)).double().numpy()
        return scores

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean of the text with the true image, and with the predicted one."""
        assert len(statistics), "no score without a window"
        names = ("clipscore", "clipscore-halves")
        return {name: float(mean) for name, mean in zip(names, statistics.mean(axis=0), strict=True)}


class ClipImage(MeanOfWindows):
    """The mean over windows of the cosine between predicted and true image (CLIP-I). The statistics are these, (n, 1).

    Images of one kind have high cosines, whatever they show: read it beside the baselines.
    """

    scale = "-1 to 1, higher is better; of one model only"
    better: Literal["higher"] = "higher"

    def __init__(self, model: Any, processor: Any, options: ClipImageOptions) -> None:
        self._model = model.eval()
        self._processor = processor.image_processor
        self.signature = f"model:{options.model}|cosine|agg:mean|version:transformers-{version('transformers')}"

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return the cosine of each window, (n, 1)."""
        import torch

        if not samples:
            return np.empty((0, 1))
        images = [each.predicted_image for each in samples] + [each.reference_image for each in samples]
        pixels = self._processor(images=images, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            found = self._model.visual_projection(self._model.vision_model(pixel_values=pixels).pooler_output)
        predicted, true = torch.nn.functional.normalize(found.double(), dim=-1).chunk(2)  # (n, d) each
        cosines: NDArray[np.float64] = (predicted * true).sum(-1, keepdim=True).clamp(-1, 1).numpy()
        return cosines

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean cosine."""
        assert len(statistics), "no score without a window"
        return {"clip-image": float(statistics.mean())}


def build(options: ClipScoreOptions) -> Metric:
    """Build CLIPScore. Raises VsrError if no model is named or it cannot be loaded."""
    return ClipScore(*_load("clipscore", options.model), options)


def build_image(options: ClipImageOptions) -> Metric:
    """Build the similarity of images. Raises VsrError if no model is named or it cannot be loaded."""
    return ClipImage(*_load("clip-image", options.model), options)


def _load(metric: str, model: str | None) -> tuple[Any, Any]:
    """Load a CLIP and its processor."""

    def loader(name: str) -> tuple[Any, Any]:
        from transformers import CLIPModel, CLIPProcessor

        found = CLIPModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        return found, CLIPProcessor.from_pretrained(name, trust_remote_code=False)

    return load(metric, model, loader)
