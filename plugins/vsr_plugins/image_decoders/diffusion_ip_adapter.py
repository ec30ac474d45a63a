"""An IP-Adapter for a pipeline of diffusers: the context's images lead the image, beside the prompt.

Ye et al. (2023), "IP-Adapter: Text Compatible Image Prompt Adapter for Text-to-Image Diffusion Models": the network
also attends to CLIP's embeddings of images.

Shapes: B stories, K context frames, d width of an embedding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vsr_cli.api import VsrError, one_line, read_tensors

from ..library_errors import UNLOADABLE
from . import DiffusionOptions
from .diffusion_files import adapter_file, encoder_folder
from .diffusion_loading import WHO, load_component, quiet_library

SHAPES = "ip_adapter.json"
"""Of a run's assets: the shapes of the adapter's weights, by group and name."""
GROUPS = ("image_proj", "ip_adapter")
ENCODER = "CLIPVisionModelWithProjection"
REMEDY = "name an IP-Adapter for this pipeline, in safetensors, by --set image_decoder.ip_adapter=FILE"
Shapes = dict[str, dict[str, list[int]]]


def add_adapter(pipeline: Any, options: DiffusionOptions, *, assets: Path | None) -> Shapes:
    """Add the adapter and its image encoder to a pipeline, without their weights from the assets of a run.

    Return the shapes of the adapter's weights. Raises VsrError if that fails.
    """
    if not hasattr(pipeline, "load_ip_adapter") or not hasattr(pipeline, "unet"):
        raise VsrError(
            f"image_decoder.ip_adapter: {type(pipeline).__name__} takes none; leave the option out, or choose another "
            "image_decoder.model"
        )
    what = options.ip_adapter if assets is None else str(assets / SHAPES)
    try:
        state = _weights(options) if assets is None else _zeros(assets)
        folder = encoder_folder(options) if assets is None else assets / "image_encoder"
        with quiet_library():
            encoder = load_component(folder, "transformers", ENCODER, dtype=pipeline.unet.dtype, weights=assets is None)
            pipeline.register_modules(image_encoder=encoder)
            pipeline.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
            pipeline.set_ip_adapter_scale(options.ip_adapter_scale)
    except UNLOADABLE as error:
        remedy = REMEDY if assets is None else "restore the run's folder, or train again"
        raise VsrError(f"{WHO}: cannot load {what} ({one_line(error)}); {remedy}") from error
    return {group: {name: list(tensor.shape) for name, tensor in state[group].items()} for group in GROUPS}


def write_shapes(folder: Path, shapes: Shapes) -> None:
    """Write the shapes of the adapter's weights for `add_adapter`."""
    (folder / SHAPES).write_text(json.dumps(shapes, indent=2) + "\n", encoding="utf-8")


def as_pil_images(images: Tensor) -> list[Image.Image]:
    """Return images (K, 3, H, W) in [0, 1] as the library's image processors read them."""
    pixels = (255 * images).round().to("cpu", torch.uint8).movedim(1, -1).numpy()
    return [Image.fromarray(np.ascontiguousarray(image)) for image in pixels]


def image_embeddings(pipeline: Any, images: Tensor) -> Tensor:
    """Return the embeddings (B, K, d) of the context's images (B, K, 3, H, W) in [0, 1]."""
    given = {"ip_adapter_image_embeds": None, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    found = [
        pipeline.prepare_ip_adapter_image_embeds([as_pil_images(story)], device=images.device, **given)[0]
        for story in images
    ]
    return torch.cat(found)


def _weights(options: DiffusionOptions) -> dict[str, dict[str, Tensor]]:
    """Read the adapter's weights. Raises VsrError if they cannot be read, OSError or ValueError if there are none."""
    path = adapter_file(options)
    state: dict[str, dict[str, Tensor]] = {group: {} for group in GROUPS}
    for name, tensor in read_tensors(path, remedy=REMEDY).items():
        group, _, rest = name.partition(".")
        if group in state:
            state[group][rest] = tensor.clone()  # out of the file's memory map
    if missing := [group for group in GROUPS if not state[group]]:
        raise ValueError(f"it holds no weights of {missing[0]}")
    return state


def _zeros(assets: Path) -> dict[str, dict[str, Tensor]]:
    shapes = json.loads((assets / SHAPES).read_text(encoding="utf-8"))
    return {group: {name: torch.zeros(shape) for name, shape in shapes[group].items()} for group in GROUPS}
