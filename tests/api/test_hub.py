"""Models of the Hub where it cannot be reached."""

import json
import socket

import pytest
from huggingface_hub import constants

from vsr_cli.api import VsrError, cache_if_unreachable, refuse_foreign_code

COMMIT = "a" * 40


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    """No server answers, nothing waits to try again, and the cache holds two files of a model."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waits {seconds} s"))
    model = tmp_path / "models--some--model"
    for path, content in (
        (f"snapshots/{COMMIT}/config.json", json.dumps({"model_type": "bert"})),
        (f"snapshots/{COMMIT}/tokenizer_config.json", json.dumps({"auto_map": {"AutoTokenizer": "evil.Evil"}})),
        ("refs/main", COMMIT),
    ):
        (model / path).parent.mkdir(parents=True, exist_ok=True)
        (model / path).write_text(content)


def test_an_unreachable_hub_is_asked_once_and_then_its_cache_read(unreachable, capfd):
    with cache_if_unreachable("some/model", "some/tokenizer"):
        assert constants.HF_HUB_OFFLINE
        with pytest.raises(VsrError, match="auto_map"):
            refuse_foreign_code("some/model")
        refuse_foreign_code("some/absent")
    assert not constants.HF_HUB_OFFLINE
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("warning: some/model: the Hugging Face Hub cannot be reached (")
    with pytest.raises(VsrError, match="auto_map"):
        refuse_foreign_code("some/model")
    assert not constants.HF_HUB_OFFLINE


def test_a_hub_that_answers_is_asked_once_for_blocks_within_blocks(monkeypatch):
    asked = []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("vsr_cli.api.hub._problem_of_hub", lambda: asked.append(None))
    for _ in range(2):
        with cache_if_unreachable("some/model"), cache_if_unreachable("some/tokenizer"):
            assert not constants.HF_HUB_OFFLINE
    assert len(asked) == 2


def test_a_folder_asks_no_hub(unreachable, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("huggingface_hub.utils.get_session", lambda: pytest.fail("asks the Hub"))
    with cache_if_unreachable(tmp_path):
        assert not constants.HF_HUB_OFFLINE
    assert capfd.readouterr().err == ""
