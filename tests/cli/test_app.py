"""`vsr app`: what is refused before a page is served."""

import socket

from vsr_cli.cli import app


def test_without_gradio_the_extra_is_named(monkeypatch, workspace, vsr):
    monkeypatch.setattr(app, "missing_package", lambda name: [name])
    answer = vsr("app")
    assert (answer.code, answer.errors) == (2, ["vsr app: needs gradio; pip install 'vsr-cli[app]'"])


def test_a_port_in_use_is_one_line(workspace, vsr):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = vsr(f"app --port {port}")
    assert (answer.code, len(answer.errors)) == (2, 1)
    assert f"--host 127.0.0.1 --port {port}: cannot be listened on" in answer.errors[0]
