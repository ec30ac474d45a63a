"""BERTScore with any encoder of the transformers library."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from vsr_cli.api import MeanOfWindows, Metric, Sample, VsrError

from . import BertScoreOptions
from .pretrained import load

if TYPE_CHECKING:
    from torch import Tensor


class BertScore(MeanOfWindows):
    """The mean over windows of BERTScore's F1 (Zhang et al., 2020), without idf and without rescaling to a baseline.

    Each token is matched with the nearest of the other text by the cosine of their states; first and last (special)
    tokens are left out. The statistics (n, 3): F1, precision, recall; 0 where a text is empty.
    """

    scale = "-1 to 1, higher is better; of one model only"
    better: Literal["higher", "lower"] = "higher"

    def __init__(self, model: Any, tokenizer: Any, options: BertScoreOptions) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._layer, self._length = options.layer, options.length
        self.signature = (
            f"model:{options.model}|layer:{options.layer}|length:{options.length}|idf:no|rescaled:no|agg:mean"
            f"|version:transformers-{version('transformers')}"
        )

    def measure(self, samples: Sequence[Sample]) -> NDArray[np.float64]:
        """Return F1, precision and recall of each window, (n, 3)."""
        texts = list(dict.fromkeys(text for each in samples for text in (each.predicted_text, each.reference_text)))
        states = dict(zip(texts, self._states(texts), strict=True)) if texts else {}
        rows = [_match(states[each.predicted_text], states[each.reference_text]) for each in samples]
        return np.array(rows, dtype=np.float64).reshape(-1, 3)

    def combine(self, statistics: NDArray[np.float64]) -> dict[str, float]:
        """Return the mean F1, precision and recall."""
        assert len(statistics), "no score without a window"
        names = ("bertscore", "bertscore-precision", "bertscore-recall")
        return {name: float(mean) for name, mean in zip(names, statistics.mean(axis=0), strict=True)}

    def _states(self, texts: Sequence[str]) -> list[Tensor]:
        """Return the states of each text's tokens, of length 1: (tokens, H) each."""
        import torch

        encoded = self._tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            split_special_tokens=True,  # "[SEP]" in a text is text
            max_length=self._length,
            return_special_tokens_mask=True,
            return_tensors="pt",
        )
        special = encoded.pop("special_tokens_mask").bool()  # (n, L)
        with torch.inference_mode():
            hidden = self._model(**encoded, output_hidden_states=True).hidden_states[self._layer]  # (n, L, H)
        unit = torch.nn.functional.normalize(hidden.float(), dim=-1)
        return [states[~mask] for states, mask in zip(unit, special, strict=True)]


def _match(predicted: Tensor, reference: Tensor) -> tuple[float, float, float]:
    if not len(predicted) or not len(reference):
        return 0.0, 0.0, 0.0
    cosines = predicted @ reference.T  # (p, r)
    precision, recall = float(cosines.amax(1).mean()), float(cosines.amax(0).mean())
    total = precision + recall
    return (2 * precision * recall / total if total else 0.0), precision, recall


def build(options: BertScoreOptions) -> Metric:
    """Build the metric. Raises VsrError if no model is named or it cannot be loaded, or lacks the layer."""

    def loader(name: str) -> tuple[Any, Any]:
        from transformers import AutoModel, AutoTokenizer

        model = AutoModel.from_pretrained(name, use_safetensors=True, trust_remote_code=False)
        return model, AutoTokenizer.from_pretrained(name, trust_remote_code=False)

    model, tokenizer = load("bertscore", options.model, loader)
    layers = int(model.config.num_hidden_layers) + 1  # the embeddings are the first
    if not -layers <= options.layer < layers:
        raise VsrError(
            f"metrics.bertscore.layer: {options.model} has {layers} layers of states (got {options.layer}); "
            f"choose from {-layers} to {layers - 1}"
        )
    return BertScore(model, tokenizer, options)
