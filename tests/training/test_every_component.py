"""Each fusion, temporal model and image decoder trains, is reloaded and predicts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from vsr_cli.api import Decoding
from vsr_cli.config.schema import FeatureOptions
from vsr_cli.data.cache.extraction import frozen_features
from vsr_cli.data.prepared import open_prepared
from vsr_cli.model.loss_means import open_split
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry

SETS = [
    ("concat", "rnn", "deconv"),
    ("gated", "attention-gru", "deconv"),
    ("bilinear", "transformer", "deconv"),
    ("cross-attention", "tcn", "deconv"),
    ("image-only", "ssm", "upsample"),
    ("text-only", "mean", "residual"),
    ("concat", "last", "deconv"),
    ("gated", "gru", "tokens"),
]
"""Fusion, temporal model and image decoder of a run: each of the newer ones at least once."""
CPU = torch.device("cpu")


@pytest.mark.both_precisions
@pytest.mark.parametrize(("fusion", "temporal", "image_decoder"), SETS, ids=map("+".join, SETS))
def test_every_component_trains_and_its_stored_run_has_the_measured_losses(
    fusion, temporal, image_decoder, train_small, small_data, tmp_path
):
    names = (f"fusion.name={fusion}", f"temporal.name={temporal}", f"image_decoder.name={image_decoder}")
    small = ["image_decoder.autoencoder_steps=4"] if image_decoder == "tokens" else []
    run = train_small(tmp_path / "run", *names, *small, "training.epochs=1")
    rows = [json.loads(line) for line in run.history.read_text().splitlines()]
    model = load_model(run, registry(), which="last")
    prepared = open_prepared(small_data)
    options = {"device": CPU, "options": FeatureOptions(), "splits": ["validation"]}
    features = frozen_features(prepared, model.visual, model.text, **options)
    split = open_split(model, prepared, "validation", features, device=CPU)
    everything = np.arange(len(split))
    context, target = split.contexts.batch(everything), split.targets.batch(everything)
    with torch.no_grad():  # validation is in single precision, whatever the run trains in
        losses = model(context, target)
    for name, value in losses.items():
        assert value.item() == pytest.approx(rows[-1]["validation"][name], rel=1e-5, abs=1e-6)

    short = replace(context, mask=torch.tensor([True, True, False, False]).expand(len(split), 4))
    prediction = model.predict(short, Decoding())
    assert len(prediction.texts) == len(split)
    assert prediction.images.shape == (len(split), 3, 32, 32)
