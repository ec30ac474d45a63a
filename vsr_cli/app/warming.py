"""The first call of an app, which its server makes itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from ..errors import VsrError
from .examples import ExampleStory

SECONDS = 600
"""For a large model on a processor."""


def warm_up(address: str, story: ExampleStory, runs: Sequence[str]) -> None:
    """Open the page and predict with each run, over HTTP as a visitor does.

    Gradio imports much at its first call, matplotlib among it, and a model is slower at its first prediction. Raises
    VsrError if a run cannot predict.
    """
    with visitor(address) as client:
        client.get(address).raise_for_status()
        images = upload(client, story.images)
        for run in runs:
            answer = predict(client, images, story.texts, run=run)
            if "event: complete" not in answer:
                raise VsrError(f"{run}: cannot predict its first story ({answer}); try 'vsr predict' with this run")


def visitor(address: str) -> httpx.Client:
    """Return a client of the HTTP API of an app on this machine, which no proxy is needed for."""
    return httpx.Client(base_url=f"{address}gradio_api", timeout=SECONDS, trust_env=False)


def upload(client: httpx.Client, files: Sequence[Path]) -> list[dict[str, Any]]:
    """Upload images, and return them as calls name them."""
    named = [("files", (path.name, path.read_bytes())) for path in files]
    uploaded = client.post("/upload", files=named).raise_for_status().json()
    return [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in uploaded]


def predict(
    client: httpx.Client, images: list[dict[str, Any]], texts: Sequence[str], *, run: str, method: str | None = None
) -> str:
    """Predict the next frame of uploaded images and their texts; return the answer as a stream of events."""
    call = {"data": [images, list(texts), method, 0, run]}
    event = client.post("/call/predict", json=call).raise_for_status().json()["event_id"]
    return client.get(f"/call/predict/{event}").text
