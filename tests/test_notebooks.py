"""The notebooks in examples/: executed from top to bottom by a small training, and stored without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples").glob("*.ipynb"))
SMALL = """
STORIES = 12
EPOCHS = 1
SETTINGS = {
    "model.width": 16,
    "text_decoder.length": 12,
    "image_decoder.autoencoder": "storyworld",
    "image_decoder.width": 32,
    "training.device": "cpu",
}
"""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_outputs_are_stripped(notebook):
    kept = [cell for cell in notebook.cells if cell.cell_type == "code" and (cell.outputs or cell.execution_count)]
    assert kept == []


@pytest.mark.slow
def test_every_cell_runs_and_storyboards_are_shown(notebook, tmp_path):
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = SMALL
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    storyboards = [output for output in shown if "image/png" in output.get("data", {}) and "text/html" in output.data]
    assert len(storyboards) == 5
    assert any("image/gif" in output.get("data", {}) for output in shown)
    assert any(output.get("name") == "stdout" and "meteor" in output.text for output in shown)
    assert not any("<pre" in output.get("data", {}).get("text/html", "") for output in shown)  # logs are plain text
    assert (tmp_path / "my-prediction/storyboard.png").is_file()
