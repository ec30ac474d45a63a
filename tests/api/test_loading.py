"""Weights from a file that a user names: they are named, finite tensors, or one line says what else."""

import pickle
from collections import Counter

import pytest
import torch
from safetensors.torch import save_file
from tqdm.auto import tqdm

from vsr_cli.api import VsrError, quiet, read_tensors


def write_pickle(path):
    path.write_bytes(pickle.dumps(Counter("code"), protocol=4))


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.pt", write_pickle, "(it is broken, or holds more than named tensors); name another"),
        ("a.safetensors", write_pickle, "weights cannot be read"),
        ("a.pt", lambda path: torch.save([torch.ones(2)], path), "is not a state dict (names and tensors); name"),
        ("a.pt", lambda path: torch.save({"epoch": 3}, path), "is not a state dict (names and tensors); name another"),
        (
            "a.safetensors",
            lambda path: save_file({"fine": torch.ones(2), "layer": torch.tensor([1.0, float("nan")])}, path),
            "layer holds numbers that are not finite; name another",
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_named_tensors_is_refused_in_one_line(tmp_path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(VsrError) as caught:
        read_tensors(tmp_path / name, remedy="name another")
    (line,) = caught.value.lines
    assert line.startswith(f"{tmp_path / name}: ")
    assert message in line
    assert "weights_only" not in line, "which would run the code in the file"


@pytest.mark.parametrize(("name", "write"), [("a.pt", torch.save), ("a.safetensors", save_file)])
def test_named_tensors_are_read(tmp_path, name, write):
    write({"layer": torch.arange(3.0)}, tmp_path / name)
    assert read_tensors(tmp_path / name, remedy="")["layer"].tolist() == [0, 1, 2]


def test_quiet_hides_bars_that_a_library_draws_itself(capsys):
    with quiet():
        assert list(tqdm([1, 2], desc="tensors")) == [1, 2]
    assert capsys.readouterr().err == ""
    assert list(tqdm([1, 2], desc="tensors")) == [1, 2]
    assert "tensors" in capsys.readouterr().err
