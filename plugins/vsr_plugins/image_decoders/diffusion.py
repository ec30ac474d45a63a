"""Image decoder `diffusion`: a pretrained text-to-image pipeline of diffusers, prompted with the next text.

Shapes: B stories, H W pixels of prepared images, s the side in pixels of the pipeline's images, C channels and h w size
of a latent.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vsr_cli.api import BuildContext, Narrative, NextText, VsrError
from vsr_cli.api.generation import random_generators

from ..lora import add_lora, fold_lora
from . import DiffusionOptions
from .diffusion_ip_adapter import Shapes, add_adapter, as_pil_images, image_embeddings, write_shapes
from .diffusion_loading import WHO, load_pipeline, other_scheduler, quiet_library, read_assets, write_assets
from .diffusion_loss import NoisePrediction, Prompt, network_of
from .diffusion_prompt import make_prompt


class Diffusion(nn.Module):
    """A text-to-image pipeline, frozen or with trained low-rank updates (Hu et al. 2022, "LoRA").

    It reads the next text and the context's texts, its last image (`strength`) or all of its images (`ip_adapter`), and
    nothing of the other components.
    """

    def __init__(
        self, pipeline: Any, *, adapter: Shapes | None = None, options: DiffusionOptions, image_size: int
    ) -> None:
        """Wrap a pipeline. `adapter` are the shapes of the weights of its IP-Adapter, if it has one."""
        super().__init__()
        self.pipeline, self.adapter, self.options, self.image_size = pipeline, adapter, options, image_size
        self.models = nn.ModuleDict(
            {name: part for name, part in pipeline.components.items() if isinstance(part, nn.Module)}
        )
        self.models.requires_grad_(False)
        self.side = _side(pipeline, options)
        self.noise = NoisePrediction(pipeline, side=self.side)
        if options.scheduler is not None:
            pipeline.scheduler = other_scheduler(options.scheduler, pipeline.scheduler)
        if options.trained == "lora":
            network = network_of(pipeline)
            blocks = len(getattr(network, "transformer_blocks", ()))
            # The last block of Stable Diffusion 3 does not use the queries of the text, so these would get no gradient.
            exclude = [f"transformer_blocks.{blocks - 1}.attn.add_q_proj"] if blocks else []
            add_lora(network, rank=options.rank, dropout=0.0, component=WHO, exclude=exclude)
            if options.gradient_checkpointing:
                network.enable_gradient_checkpointing()
        self.train(False)

    def train(self, mode: bool = True) -> Diffusion:
        """Set the mode of what trains; all else stays in evaluation mode."""
        super().train(mode)
        self.models.train(False)
        if self.options.trained == "lora":
            network_of(self.pipeline).train(mode)
        return self

    def fold_updates(self) -> None:
        """Add what LoRA trained to the weights: the model generates faster, and is not trained any more."""
        if self.options.trained == "lora":
            fold_lora(network_of(self.pipeline))

    def save_assets(self, folder: Path) -> None:
        """Write the pipeline's index, configurations and tokenizers."""
        write_assets(folder, self.pipeline, scheduler=self.noise.scheduler)
        if self.adapter is not None:
            write_shapes(folder, self.adapter)

    def loss(self, narrative: Narrative, text: NextText, target: Tensor) -> Tensor:
        """Return the mean squared error of the predicted noise in images (B, 3, H, W) in [0, 1], a scalar.

        In evaluation mode the noise of a story depends on its context's texts only.
        """
        prompts = self._prompts(narrative, text)
        latents = self.noise.latents(_resized(target, self.side))
        if self.training:
            noise, level = torch.randn_like(latents), torch.rand(len(latents), device=latents.device)
        else:
            generators = random_generators(narrative.context, seed=0)
            noise = torch.stack([torch.randn(latents.shape[1:], generator=each) for each in generators])
            level = torch.cat([torch.rand(1, generator=each) for each in generators])
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.options.trained != "none"):
            prompt = Prompt(prompts, None if self.adapter is None else self._embeddings(narrative))
            errors = self.noise.errors(latents, prompt, noise.to(latents), level.to(latents))  # (B, C, h, w)
            return errors.mean()

    @torch.no_grad()
    def generate(self, narrative: Narrative, text: NextText, seed: int) -> Tensor:
        """Return images (B, 3, H, W) in [0, 1], generated one by one, so that none depends on the rest of the batch."""
        context, images = narrative.context, []
        generators = random_generators(context, seed=seed)
        seen = None if self.adapter is None else context.images()  # (B, K, 3, H, W)
        accepted = inspect.signature(self.pipeline.__call__).parameters
        for row, prompt in enumerate(self._prompts(narrative, text)):
            given: dict[str, Any] = {
                "prompt": prompt,
                "num_inference_steps": self.options.steps,
                "guidance_scale": self.options.guidance,
                "height": self.side,
                "width": self.side,
                "generator": generators[row],
                "output_type": "pt",
            }
            if self.options.strength is not None:
                start = _resized(context.last_image[row : row + 1], self.side)
                given |= {"image": start, "strength": self.options.strength}
            if seen is not None:
                given["ip_adapter_image"] = [as_pil_images(seen[row])]
            with quiet_library():
                image = self.pipeline(**{name: value for name, value in given.items() if name in accepted}).images
            images.append(image.float())  # (1, 3, s, s)
        return _resized(torch.cat(images), self.image_size)

    @torch.no_grad()
    def _embeddings(self, narrative: Narrative) -> Tensor:
        """Return the embeddings (B, K, d) of the context's images."""
        return image_embeddings(self.pipeline, narrative.context.images())

    def _prompts(self, narrative: Narrative, text: NextText) -> list[str]:
        tokenizer, style = self.pipeline.tokenizer, self.options.style
        both = zip(text.texts, narrative.context.texts, strict=True)
        return [make_prompt(text, context, style=style, tokenizer=tokenizer) for text, context in both]


def _resized(images: Tensor, side: int) -> Tensor:
    """Return images (B, 3, s, s) in [0, 1] in another size, smoothed before they become smaller."""
    if images.shape[-1] == side:
        return images
    return functional.interpolate(images, (side, side), mode="bicubic", antialias=True).clamp(0, 1)


def _side(pipeline: Any, options: DiffusionOptions) -> int:
    """Return the side in pixels of the images that the pipeline generates. Raises VsrError if it is no possible one."""
    config, factor = network_of(pipeline).config, int(pipeline.vae_scale_factor)
    trained = config.sample_size
    side = options.image_size or factor * (trained if isinstance(trained, int) else max(trained))
    step = factor * int(config.get("patch_size") or 1)
    if side % step:
        raise VsrError(
            f"image_decoder.image_size: the pipeline generates sides that are multiples of {step} pixels (got {side}); "
            f"set it to {max(side // step, 1) * step}, or leave it out"
        )
    return side


def build(options: DiffusionOptions, context: BuildContext) -> Diffusion:
    """Build the decoder around a pipeline from the Hub or a folder, or around its architecture from a run's assets.

    Raises VsrError if the pipeline cannot be loaded or used, or if diffusers, or for LoRA peft, is missing.
    """
    pipeline = load_pipeline(options) if context.assets is None else read_assets(context.assets, options)
    adapter = None if options.ip_adapter is None else add_adapter(pipeline, options, assets=context.assets)
    return Diffusion(pipeline, adapter=adapter, options=options, image_size=context.image_size)
