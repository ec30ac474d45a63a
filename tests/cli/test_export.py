"""`vsr export`: what it refuses."""

import pytest

from vsr_cli.cli import export


def test_export_refuses_a_folder_that_is_not_empty(workspace, vsr, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    answer = vsr(f"export --onnx {tmp_path}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert "nothing is overwritten" in answer.errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("line", "part"), [("export", "--onnx DIR"), ("export absent --onnx out", "there is no such folder")]
)
def test_export_of_nothing_is_one_line(empty, vsr, line, part):
    answer = vsr(line)
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert part in answer.errors[0]
    assert list(empty.iterdir()) == []


def test_export_without_its_packages_names_the_extra(empty, vsr, monkeypatch):
    monkeypatch.setattr(export, "missing_package", lambda name: [name] if name == "onnxscript" else [])
    assert vsr("export --onnx out").errors == ["--onnx: needs onnxscript; pip install 'vsr-cli[onnx]'"]
