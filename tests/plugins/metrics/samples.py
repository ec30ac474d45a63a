"""Windows to score, of which a metric reads the texts or the images."""

import numpy as np

from vsr_cli.api import Metric, Sample

BLANK = np.zeros((1, 1, 3), dtype=np.uint8)


def text_sample(predicted: str, reference: str = "", context: tuple[str, ...] = (), **more: object) -> Sample:
    """Return a window of texts with blank images."""
    texts = {"context_texts": context, "predicted_text": predicted, "reference_text": reference}
    return Sample(story="s", **texts, predicted_image=BLANK, reference_image=BLANK, **more)


def image_sample(predicted: np.ndarray, reference: np.ndarray) -> Sample:
    """Return a window of images with empty texts."""
    texts = {"context_texts": (), "predicted_text": "", "reference_text": ""}
    return Sample(story="s", **texts, predicted_image=predicted, reference_image=reference)


def scores(metric: Metric, *samples: Sample) -> dict[str, float]:
    return metric.combine(metric.measure(samples))
