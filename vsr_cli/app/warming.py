"""The first call of an app, which its server makes itself."""

from __future__ import annotations

from collections.abc import Sequence

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
    # Not through a proxy: the address is on this machine.
    with httpx.Client(base_url=f"{address}gradio_api", timeout=SECONDS, trust_env=False) as client:
        client.get(address).raise_for_status()
        named = [("files", (path.name, path.read_bytes())) for path in story.images]
        uploaded = client.post("/upload", files=named).raise_for_status().json()
        images = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in uploaded]
        for run in runs:
            call = {"data": [images, list(story.texts), None, 0, run]}
            event = client.post("/call/predict", json=call).raise_for_status().json()["event_id"]
            answer = client.get(f"/call/predict/{event}").text
            if "event: complete" not in answer:
                raise VsrError(f"{run}: cannot predict its first story ({answer}); try 'vsr predict' with this run")
