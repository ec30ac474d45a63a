"""The cost of an evaluation beyond its forward passes.

Run as `python benchmarks/evaluate.py`. About 600 windows of storyworld are evaluated with the default metrics, by the
tiny preset after one epoch. The baseline is the forward passes alone: each frame through the encoders once,
each window predicted free-running. Both are measured in CPU time in one process, after a first round that loads the
libraries; the best round counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

ROUNDS = 3
STORIES = ["dataset.stories=500", "data.test=0.4", "data.validation=0.05"]


def measured(evaluating: Callable[[], Any], forward: Callable[[], Any]) -> tuple[float, float]:
    """Return the shortest time of each in seconds, measured alternately."""
    seconds: dict[str, list[float]] = {"evaluating": [], "forward": []}
    for _ in range(1 + ROUNDS):
        for name, work in (("evaluating", evaluating), ("forward", forward)):
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return min(seconds["evaluating"][1:]), min(seconds["forward"][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", nargs="+", default=["bleu", "rouge", "meteor"])
    metrics = parser.parse_args().metrics

    import torch

    from vsr_cli.api import Decoding
    from vsr_cli.config.experiment import resolve_metrics
    from vsr_cli.config.schema import FeatureOptions
    from vsr_cli.data.batches import Contexts
    from vsr_cli.data.cache.extraction import frozen_features
    from vsr_cli.evaluation.evaluate import evaluate
    from vsr_cli.evaluation.model_predictions import Part
    from vsr_cli.evaluation.predictions import predict_all
    from vsr_cli.model.embedding_spaces import EmbeddingSpaces
    from vsr_cli.model.weights import choose_device, load_model
    from vsr_cli.workflows.preparation import run_prepare
    from vsr_cli.workflows.settings import load_registry, train_config
    from vsr_cli.workflows.stories import prepare_config
    from vsr_cli.workflows.training import run_train

    found = load_registry()
    with tempfile.TemporaryDirectory() as folder:
        config = prepare_config(found, dataset="storyworld", preset="tiny", flags={}, assignments=STORIES)
        prepared = run_prepare(config, None, Path(folder) / "data")
        settings = train_config(
            found, manifest=prepared.manifest, preset=None, config=None, flags={"training.epochs": 1}, assignments=[]
        )
        device = choose_device("auto")
        model = load_model(run_train(settings, prepared.folder, Path(folder) / "run"), found).to(device).eval()
        choices = resolve_metrics(found, metrics, [])
        windows = prepared.windows("test")
        encoders: dict[str, Any] = {"visual": model.visual, "text": model.text}

        def forward() -> None:
            features = frozen_features(
                prepared, **encoders, device=device, options=FeatureOptions(), splits=["test", "train"]
            )
            contexts = Contexts(prepared.frames, windows, **encoders, features=features, device=device)
            predict_all(model, contexts, Decoding(), description="predicting")
            spaces = EmbeddingSpaces(model, device)
            for split in ("test", "train"):
                rows = prepared.windows(split)
                spaces.images(prepared.frames.images, rows.image_rows, features=features.visual)
                spaces.texts(features.tokens, rows.text_rows, features=features.text)

        part = Part(prepared, prepared, lambda: model)

        def evaluating() -> None:
            evaluate([part], prepared, "test", choices, decoding=Decoding(), device=device)

        torch.set_num_threads(1)
        whole, bare = measured(evaluating, forward)
        print(f"{len(windows)} windows, metrics {' '.join(metrics)}, {device}")
        print(f"evaluation {whole:.2f} s, forward passes {bare:.2f} s, ratio {whole / bare:.2f}")


if __name__ == "__main__":
    main()
