"""Fixtures of the tests of plugins."""

import socket

import pytest


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection, as a machine without a network does."""

    def refuse(*_args, **_kwargs):
        raise OSError("the network is blocked")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
