import argparse
import json
import resource
import sys

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from vsr_cli.api import Context, Target
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.model.building import build_model
from vsr_cli.plugin.discovery import registry

pytestmark = pytest.mark.slow

NAMES = {
    "resnet.": "visual.network.",
    "see.": "visual.projection.",
    "read.": "text.projection.",
    "fuse.": "fusion.linear.",
    "remember.": "temporal.recurrent.",
    "embed.": "text_decoder.embedding.",
    "start.": "text_decoder.start.",
    "write.": "text_decoder.recurrent.",
    "head.": "text_decoder.head.",
    "first.": "image_decoder.first.",
    "draw.": "image_decoder.upsample.",
    "temperature": "terms.alignment.log_inverse_temperature",
    "bert.": "text.lower.",
}
"""The plain model's names and vsr's."""


def ours(name):
    theirs = next(prefix for prefix in NAMES if name.startswith(prefix))
    name = NAMES[theirs] + name.removeprefix(theirs)
    for layer in (4, 5):
        name = name.replace(f"text.lower.transformer.layer.{layer}.", f"text.upper.{layer - 4}.")
    return name


def test_plain_model_has_the_losses_and_gradients_of_vsr(tmp_path, load_benchmark):
    baselines = load_benchmark("plain_training")
    baselines.write_tokenizer(tmp_path / "tokenizer.json")
    chosen = ["visual.weights=random", "text.weights=random", f"text.tokenizer={tmp_path / 'tokenizer.json'}"]
    config = resolve_train(registry(), preset="reference", layers=[preset_layer("reference"), *parse_set(chosen)])
    model = build_model(config, image_size=224).eval()
    plain = baselines.PlainStory(frozen_layers=4).eval()
    plain.load_state_dict({name: model.state_dict()[ours(name)] for name in plain.state_dict()})
    assert {ours(name) for name in plain.state_dict()} == model.state_dict().keys()

    stories = baselines.pairs(2)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = baselines.context_ids(tokenizer, [text for story in stories for _, text in story[:4]])
    mask = (ids != baselines.PAD).long()
    answer = baselines.target_ids(tokenizer, [story[4][1] for story in stories])
    pictures = torch.stack([torch.stack([baselines.open_picture(image) for image, _ in story]) for story in stories])
    theirs = plain.losses(*plain.encode(pictures[:, :4].flatten(0, 1), ids, mask), answer, pictures[:, 4])
    theirs["loss"].backward()

    tokens = model.text.tokenize([text for story in stories for _, text in story[:4]])
    texts = [story[4][1] for story in stories]
    wanted = model.text_decoder.tokenize(texts)
    assert np.array_equal(tokens.ids, ids)
    assert np.array_equal(wanted.ids, answer)
    bytes_of = (pictures[:, :4].flatten(0, 1) * 255).round().to(torch.uint8)
    context = Context(
        visual=model.visual.frozen(model.visual.pixels(bytes_of)).view(2, 4, -1),
        text=model.text.frozen(ids, mask.bool()).view(2, 4, 32, -1),
        text_ids=ids.view(2, 4, 32),
        text_mask=mask.bool().view(2, 4, 32),
        mask=torch.ones(2, 4, dtype=torch.bool),
        last_image=pictures[:, 3],
        story=torch.arange(2),
        text_row=torch.arange(8).view(2, 4),
        texts=[[text for _, text in story[:4]] for story in stories],
        images=lambda: pictures[:, :4],
    )
    got = model(context, Target(ids=answer, mask=torch.from_numpy(wanted.mask), image=pictures[:, 4], texts=texts))
    got["loss"].backward()
    for name, value in theirs.items():
        torch.testing.assert_close(got[name], value, rtol=1e-4, atol=1e-5)
    slopes = dict(model.named_parameters())
    for name, weight in plain.named_parameters():
        assert weight.requires_grad == slopes[ours(name)].requires_grad, name
        if weight.requires_grad:
            torch.testing.assert_close(slopes[ours(name)].grad, weight.grad, rtol=1e-3, atol=1e-4, msg=name)


def test_benchmark_compares_all_three(monkeypatch, capsys, load_benchmark):
    words = ["--stories=4", "--baseline-stories=2", "--epochs=1", "--frozen=all", "--batch-size", "2", "--json"]
    plain, train = load_benchmark("plain_training"), load_benchmark("train")
    measurements = {"plain": plain.plain, "loader": plain.loader, "limit": train.limit}
    in_a_process = train.in_a_process

    def measure(what, given, *, cache=None, **changed):
        """Start a process for the growth alone: the others would import for longer than they measure."""
        if what == "grow":
            return in_a_process(what, given, **changed)
        if cache:
            monkeypatch.setenv("VSR_CACHE", str(cache))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"peak_mib": peak, **measurements[what](argparse.Namespace(**{**vars(given), **changed}))}

    monkeypatch.setattr(train, "in_a_process", measure)
    monkeypatch.setattr(sys, "argv", ["train.py", *words, "--grow", "20"])
    train.main()
    report = json.loads(capsys.readouterr().out)
    assert [result["batch_size"] for result in report["results"]] == [2]
    for result in report["results"]:
        baselines = result["baselines"]
        assert baselines.keys() == {"plain", "loader", "vsr"}
        assert all(row["rate"] > 0 and row["peak_mib"] > 100 for row in baselines.values())
        ours = baselines["vsr"]
        # Forward, and twice as much backward: of the head alone 30,522 words * 256 numbers * 2 operations * 32 tokens.
        head = 3 * 2 * 30_522 * 256 * 32
        assert head < ours["story_flops"] < 2 * head
        assert ours["over_the_limit"] == pytest.approx(ours["matmul_rate"] / (ours["story_flops"] * ours["rate"]))
        assert ours["ten_epochs_seconds"] > ours["prepare_seconds"]
    (grown,) = report["growth"]
    assert grown["stories"] == 20
    assert grown["rate"] > 0
