"""`vsr export --onnx`: graphs that compute what torch computes, and the script that predicts with them."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vsr_cli.api import Decoding, Frame, Story
from vsr_cli.config.experiment import resolve_train
from vsr_cli.config.resolve import parse_set, preset_layer
from vsr_cli.errors import VsrError
from vsr_cli.export.graphs import TextGraph, graphs_of
from vsr_cli.export.write import EXAMPLES, export_onnx
from vsr_cli.inference.predict import predict_alternatives
from vsr_cli.model.building import build_model
from vsr_cli.model.weights import load_model
from vsr_cli.plugin.discovery import registry

from ..plugins.text_encoders.small_encoders import save_model

SCRIPT = Path(__file__).parents[2] / "examples" / "predict_with_onnx.py"
SIZE = 32
K = 4


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("predict_with_onnx", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def small_model(train_small, tmp_path_factory):
    return load_model(train_small(tmp_path_factory.mktemp("runs") / "small", "training.epochs=1"), registry())


@pytest.fixture
def stories(tmp_path):
    """Two stories of pairs, one of them shorter than a context."""
    random = np.random.default_rng(0)
    texts = ["Mara opens the box.", "She waits, and waits", "'The box opens' says Mara.", "the", "And the box?"]
    found = []
    for count in (5, 2):
        pairs = []
        for number in range(count):
            path = tmp_path / f"{count}-{number}.png"
            Image.fromarray(random.integers(0, 256, (40, 56, 3), dtype=np.uint8)).save(path)
            pairs.append((path, texts[number]))
        found.append(pairs)
    return found


def names(model):
    return {section: f"the {section}" for section in vars(model.parts)}


def predicted(model, pairs):
    story = Story(id="one", frames=[Frame(image=path, text=text) for path, text in pairs])
    (found,) = predict_alternatives(
        model,
        story,
        context_frames=K,
        image_size=SIZE,
        resize="stretch",
        decodings=[Decoding()],
        device=torch.device("cpu"),
    )
    return found


def check_as_in_torch(model, folder, script, stories):
    for pairs in stories:
        with pytest.MonkeyPatch.context() as patch:
            # As the decoder wrote it, without the correction of spaces that is made for display.
            patch.setattr("vsr_cli.inference.predict.shown_text", lambda decoder, text, context: text)
            own = predicted(model, pairs)
        text, image = script.predict(folder, pairs)
        assert text == own.text
        assert np.abs(np.asarray(image, dtype=int) - np.asarray(own.image, dtype=int)).max() <= 1


@pytest.mark.slow
def test_exported_tiny_model_predicts_as_in_torch(small_model, script, stories, tmp_path):
    record = export_onnx(
        small_model, tmp_path / "out", names=names(small_model), run="x", steps=K, image_size=SIZE, resize="stretch"
    )
    assert record == json.loads((tmp_path / "out/export.json").read_text())
    assert all(graph["largest_difference"] <= 1e-4 for graph in record["graphs"].values())
    check_as_in_torch(small_model, tmp_path / "out", script, stories)


@pytest.mark.slow
def test_exported_reference_design_predicts_as_in_torch(script, stories, tmp_path):
    settings = ["visual.weights=random", f"text.model={save_model(tmp_path / 'bert', 'distilbert')}"]
    settings += ["text.length=16", "text.frozen_layers=1", "model.width=32", "text_decoder.length=12"]
    layers = [preset_layer("reference"), *parse_set(settings)]
    torch.manual_seed(0)
    model = build_model(resolve_train(registry(), preset="reference", layers=layers), image_size=SIZE).eval()
    record = export_onnx(
        model, tmp_path / "out", names=names(model), run="x", steps=K, image_size=SIZE, resize="stretch"
    )
    assert all(graph["largest_difference"] <= 1e-4 for graph in record["graphs"].values())
    assert list(record["graphs"]["step"]["inputs"]) == ["token", "state_0"]
    check_as_in_torch(model, tmp_path / "out", script, stories)


@pytest.mark.parametrize("frozen", ["1", "0", "all"])
def test_graph_form_of_a_text_encoder_equals_its_own(tmp_path, frozen):
    settings = ["visual.weights=random", f"text.model={save_model(tmp_path / 'bert', 'distilbert')}"]
    layers = [preset_layer("reference"), *parse_set([*settings, "text.length=16", f"text.frozen_layers={frozen}"])]
    config = resolve_train(registry(), preset="reference", layers=layers)
    encoder = build_model(config, image_size=SIZE).eval().text
    tokens = encoder.tokenize(EXAMPLES)
    ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
    with torch.no_grad():
        torch.testing.assert_close(TextGraph(encoder)(ids, mask), encoder(encoder.frozen(ids, mask), mask))


def refused(model, **parts):
    """Return the error of exporting a model with other parts in it."""
    texts = [*EXAMPLES, *EXAMPLES]
    with pytest.MonkeyPatch.context() as patch:
        for section, part in parts.items():
            patch.setitem(model.__dict__["_modules"], section, part)
        with pytest.raises(VsrError) as error:
            graphs_of(model, names=names(model), steps=K, image_size=SIZE, texts=texts)
    (line,) = error.value.lines
    return line


class Sampling(torch.nn.Module):
    def generate(self, narrative, text, seed):
        raise AssertionError

    def loss(self, narrative, text, target):
        raise AssertionError


class LastImage(torch.nn.Module):
    def forward(self, narrative):
        return narrative.context.last_image


def test_component_that_no_graph_holds_is_one_line(small_model):
    assert refused(small_model, image_decoder=Sampling()).startswith("the image_decoder: samples its image")
    assert "the image_decoder: cannot be exported: reads the context's last_image" in refused(
        small_model, image_decoder=LastImage()
    )
    assert refused(small_model, text_decoder=Sampling()).startswith("the text_decoder: does not generate step by step")


class Wrong(torch.nn.Module):
    """Computes something else in a graph than in torch."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.vocabulary, self.tokenize = encoder, encoder.vocabulary, encoder.tokenize

    def graph_form(self, ids, mask):
        exact = 0.0 if torch.compiler.is_exporting() or torch.compiler.is_compiling() else 1.0
        return self.encoder(ids, mask) + exact


@pytest.mark.slow
def test_graph_that_differs_from_torch_is_refused_and_nothing_is_written(small_model, tmp_path, monkeypatch):
    monkeypatch.setitem(small_model.__dict__["_modules"], "text", Wrong(small_model.text))
    with pytest.raises(VsrError, match=r"the text: cannot be exported: its text_embedding differs"):
        export_onnx(
            small_model, tmp_path / "out", names=names(small_model), run="x", steps=K, image_size=SIZE, resize="crop"
        )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(90, 40), (30, 30), (31, 77)])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "crop"])
def test_script_makes_images_square_as_prepare_does(script, tmp_path, shape, resize):
    from vsr_cli.data.images import read_image

    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    own = read_image(tmp_path / "one.png", where="one", size=SIZE, resize=resize).pixels
    assert np.array_equal(script.square(tmp_path / "one.png", SIZE, resize).transpose(1, 2, 0), own)
    assert "torch" not in SCRIPT.read_text()
