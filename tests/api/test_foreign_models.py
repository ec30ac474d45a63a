"""Models and runs from other people execute no code and open no connection."""

import json
import shutil
import socket
import threading
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import nn

from vsr_cli.api import BuildContext, VsrError, refuse_broken_settings, refuse_foreign_code, refuse_weights
from vsr_cli.data.manifest import MANIFEST
from vsr_cli.data.preparation.chunks import Chunk
from vsr_cli.data.prepared import open_prepared
from vsr_cli.files.atomic import write_json
from vsr_cli.model.weights import load_model
from vsr_cli.offline import no_network
from vsr_cli.runs.run import Run
from vsr_cli.workflows.settings import load_registry

BERT = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 600,
}
REFUSED = {
    "config.json": [
        {"auto_map": {"AutoConfig": "evil.Evil"}},
        {"auto_map": {"AutoModel": "someone/else--evil.Evil"}, "model_type": "bert"},
        {"text_config": {"auto_map": {"AutoConfig": "evil.Evil"}}},
        {"quantization_config": {"quant_method": "bitsandbytes"}},
        {"attn_implementation": "someone/kernels"},
        {"_attn_implementation": {"": "someone/kernels:attention"}},
        {"vision_config": {"_attn_implementation_internal": "someone/kernels"}},
        {"backbone": "someone/backbone", "use_pretrained_backbone": True},
    ],
    "tokenizer_config.json": [{"auto_map": {"AutoTokenizer": ["evil.Evil", None]}}],
    "preprocessor_config.json": [{"auto_map": {"AutoImageProcessor": "evil.Evil"}}],
    "processor_config.json": [{"image_processor": {"auto_map": {"AutoImageProcessor": "evil.Evil"}}}],
    "adapter_config.json": [{"base_model_name_or_path": "someone/else"}],
}


def write_model(folder: Path, name: str = "config.json", settings: dict | None = None) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BERT))
    (folder / name).write_text(json.dumps((BERT if name == "config.json" else {}) | (settings or {})))
    return folder


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, settings) for name, each in REFUSED.items() for settings in each],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_model_folder_with_code_is_refused(tmp_path, name, settings):
    with pytest.raises(VsrError) as refused:
        refuse_foreign_code(write_model(tmp_path / "model", name, settings))
    (line,) = refused.value.lines
    assert line.startswith(f"{tmp_path / 'model' / name}: ")
    assert "\n" not in line


@pytest.mark.parametrize(
    "settings", [{}, {"auto_map": None}, {"attn_implementation": "eager"}, {"labels": ["auto_map"]}]
)
def test_model_folder_without_code_is_accepted(tmp_path, settings):
    refuse_foreign_code(write_model(tmp_path / "model", settings=settings))


def test_hub_id_is_left_to_the_library(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refuse_foreign_code("nobody/has-such-a-model")


BUILDS = {"hf-text": "text", "hf-vision": "visual", "lm": "text_decoder", "vlm": "text_decoder", "bertscore": "metrics"}


@pytest.mark.parametrize(("name", "section"), BUILDS.items())
def test_every_component_refuses_a_model_with_code(tmp_path, monkeypatch, name, section):
    from vsr_cli.plugin.loading import build

    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the library has asked whether to run the code"))
    folder = write_model(tmp_path / "model", settings={"auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.M"}})
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')\n")
    entry = load_registry().find(section, name)
    options = entry.component.options.model_validate({"model": str(folder)})
    context = BuildContext(width=16, steps=4, image_size=32, training_texts=tuple)
    with pytest.raises(VsrError, match=r"config\.json: needs Python code of its own \(auto_map\)"):
        build(entry, options, *([] if section == "metrics" else [context]))
    assert not (tmp_path / "PWNED").exists()


# A run that comes from someone else.


@pytest.fixture(scope="module")
def encoded(tmp_path_factory, train_small) -> Path:
    """A run whose text encoder is one of transformers', of random weights."""
    folder = tmp_path_factory.mktemp("encoded")
    tokenizer = folder / "tokenizer.json"
    shutil.copy(train_small(folder / "first", "training.epochs=1").assets / "text" / "tokenizer.json", tokenizer)
    model = write_model(folder / "bert")
    run = train_small(
        folder / "run",
        "training.epochs=1",
        "text.name=hf-text",
        "text.weights=random",
        f"text.model={model}",
        f"text.tokenizer={tokenizer}",
        "text.length=16",
    )
    shutil.rmtree(model)
    return run.folder


@pytest.fixture
def stranger(encoded, tmp_path) -> Path:
    return Path(shutil.copytree(encoded, tmp_path / "stranger"))


def change(path: Path, **facts) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_run_loads_without_other_files(stranger):
    config = Run(stranger).config()
    config["text"] |= {"model": "/etc", "tokenizer": "https://example.org/tokenizer.json"}
    write_json(stranger / "config.json", config)
    load_model(Run(stranger), load_registry())


@pytest.mark.parametrize(
    "settings",
    [{"model_type": "evilmodel", "auto_map": {"AutoConfig": "evil.Evil"}}, {"_attn_implementation": "someone/kernels"}],
    ids=["auto_map", "kernels"],
)
def test_run_with_code_is_refused(stranger, tmp_path, monkeypatch, settings):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the library has asked whether to run the code"))
    change(stranger / "assets" / "text" / "config.json", **settings)
    (stranger / "assets" / "text" / "evil.py").write_text(f"open({str(tmp_path / 'PWNED')!r}, 'w')\n")
    Run(stranger).record_checksums()  # as whoever made it would
    with pytest.raises(VsrError) as refused:
        load_model(Run(stranger), load_registry())
    assert str(stranger / "assets" / "text" / "config.json") in str(refused.value)
    assert not (tmp_path / "PWNED").exists()


def test_offline_block_refuses_connections():
    asks = {
        "a host": lambda: socket.getaddrinfo("example.org", 443),
        "an address": lambda: socket.create_connection(("127.0.0.1", 9), timeout=0.1),
        "a page": lambda: urllib.request.urlopen("http://example.org"),
    }
    for ask in asks.values():
        with (
            pytest.raises(VsrError, match="runs/theirs: tries to access the network"),
            no_network("runs/theirs"),
        ):
            ask()
    with pytest.raises(OSError), no_network("x"):  # noqa: PT011 - whatever the system says of a missing socket
        socket.socket(socket.AF_UNIX).connect("/nowhere")
    with no_network("this thread"):
        other = threading.Thread(target=lambda: socket.getaddrinfo("127.0.0.1", 9))
        other.start()
        other.join()
    socket.getaddrinfo("127.0.0.1", 9)


def test_download_while_loading_a_run_is_an_error(stranger, monkeypatch):
    from vsr_cli.model import weights

    real = weights.build_model
    monkeypatch.setattr(
        weights, "build_model", lambda *of, **by: (socket.getaddrinfo("example.org", 443), real(*of, **by))[1]
    )
    with pytest.raises(VsrError, match=r"tries to access the network \(example.org\)"):
        load_model(Run(stranger), load_registry())


# A prepared folder that comes from someone else.


@pytest.mark.parametrize("tables", ["../elsewhere", "/etc", "..", "a/b", ""])
def test_tables_outside_the_prepared_folder_are_refused(small_data, tmp_path, tables):
    folder = tmp_path / "data"
    folder.mkdir()
    write_json(folder / MANIFEST, json.loads((small_data / MANIFEST).read_text()) | {"tables": tables})
    with pytest.raises(VsrError, match=r"its tables are not in the folder itself"):
        open_prepared(folder)


@pytest.mark.parametrize("key", ["../../etc/passwd", "/etc/passwd", "a" * 31 + "/", "", None, 3])
def test_chunk_with_another_name_is_refused(tmp_path, key):
    with pytest.raises(VsrError, match="no chunk has such a name"):
        Chunk(tmp_path, key)


def test_weights_of_more_layers_than_the_network_has_are_refused():
    network = nn.ModuleDict({"layers": nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))})
    refuse_weights("text encoder", "m", network, ["head.weight", "layers.0.extra"], option="text.model")
    with pytest.raises(VsrError, match=r"m has weights of more layers than .*, such as layers\.2\.weight; choose"):
        refuse_weights("text encoder", "m", network, ["layers.2.weight"], option="text.model")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(number):
    network = nn.Linear(2, 2)
    with torch.no_grad():
        network.bias[1] = number
    with pytest.raises(VsrError, match="m: its weight bias holds numbers that are not finite; choose another"):
        refuse_weights("text encoder", "m", network, [], option="text.model")


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_settings_file_that_is_no_json_object_is_named(tmp_path, text):
    refuse_broken_settings("text decoder lm", str(tmp_path), option="text_decoder.model")
    (tmp_path / "generation_config.json").write_text(text)
    with pytest.raises(VsrError, match=r"generation_config\.json is no JSON object"):
        refuse_broken_settings("text decoder lm", str(tmp_path), option="text_decoder.model")
