"""Scores of a text decoder whose targets are not shifted, so that it only needs to copy its input.

Run as `python benchmarks/unshifted_decoder.py`. A decoder of vsr reads the token before each position; that of the
reference design reads the token that it must predict. This trains such a decoder on 200 stories of storyworld with
markup, and scores it with all leaks of `--protocol leaky` open, and free-running on held-out stories. Nothing that it
prints is a result.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

DATA = ["dataset.stories=200", "data.window=first", "data.markup=true"]
MODEL = ["text.length=32", "text_decoder.name=gru", "text_decoder.length=32", "training.schedule=constant"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", nargs="+", type=int, default=[1, 2, 4])
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    arguments = parser.parse_args()

    from torch import Tensor

    from vsr_cli.api import Decoding, Narrative
    from vsr_cli.config.experiment import resolve_metrics
    from vsr_cli.config.schema import LEAKS, FeatureOptions
    from vsr_cli.evaluation.leaky_protocol import leaky_steps
    from vsr_cli.model.weights import choose_device, load_model
    from vsr_cli.workflows.preparation import run_prepare
    from vsr_cli.workflows.settings import load_registry, train_config
    from vsr_cli.workflows.stories import prepare_config
    from vsr_cli.workflows.training import run_train
    from vsr_plugins.text_decoders.gru import GruDecoder, first_state

    def unshifted(self: GruDecoder, narrative: Narrative, ids: Tensor) -> Tensor:
        states: Tensor = self.recurrent(self.embedding(ids), first_state(self.start, narrative, layers=self.layers))[0]
        return states

    GruDecoder._states = unshifted  # type: ignore[method-assign]
    found = load_registry()
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        config = prepare_config(found, dataset="storyworld", preset="tiny", flags={}, assignments=DATA)
        prepared = run_prepare(config, None, Path(folder) / "data")
        for epochs in arguments.epochs:
            given = [*MODEL, f"training.learning_rate={arguments.learning_rate}", f"training.epochs={epochs}"]
            settings = train_config(
                found, manifest=prepared.manifest, preset=None, config=None, flags={}, assignments=given
            )
            run = run_train(settings, prepared.folder, Path(folder) / f"run-{epochs}")
            steps = leaky_steps(
                load_model(run, found),
                prepared,
                "test",
                resolve_metrics(found, ["bleu", "rouge", "meteor"], []),
                leaks=list(LEAKS),
                decoding=Decoding(),
                device=choose_device("auto"),
                feature_options=FeatureOptions(),
                training=prepared,
            )
            for what, step in (("all leaks open", steps[0]), ("none", steps[-1])):
                scores = "  ".join(f"{name} {score:.3f}" for name, score in step["scores"].items())
                lines.append(f"{epochs} epochs, {what}, {step['windows']} windows: {scores}")
    print("NOT A RESULT: a decoder that reads the token which it is to write")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
