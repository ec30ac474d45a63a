"""Text decoders: write the text of the next frame."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from vsr_cli.api import Component, Options, hookimpl


class WriterOptions(Options):
    """Options of text decoders that generate token by token."""

    length: int = Field(32, ge=2, description="longest text in tokens; longer training targets are truncated")
    hidden: int | None = Field(None, ge=1, description="width of the hidden states; default: the model width")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="dropout on embeddings and hidden states")


class GruOptions(WriterOptions):
    """Options of the text decoder `gru`."""

    embedding: int | None = Field(None, ge=1, description="width of token embeddings; default: the model width")
    layers: int = Field(1, ge=1, le=1000, description="stacked recurrent layers")


class AttentionGruOptions(GruOptions):
    """Options of the text decoder `attention-gru`."""

    score: Literal["product", "additive"] = Field(
        "product", description="attention score: dot product (Luong) or additive (Bahdanau)"
    )


class TransformerOptions(WriterOptions):
    """Options of the text decoder `transformer`."""

    layers: int = Field(2, ge=1, le=1000, description="transformer layers")
    heads: int = Field(4, ge=1, description="attention heads; the width of the hidden states must be a multiple of it")
    feedforward: int = Field(4, ge=1, description="width of the feed-forward network, as a multiple of hidden")
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="dropout on embeddings and layer outputs")


class PointerGeneratorOptions(WriterOptions):
    """Options of the text decoder `pointer-generator`."""

    embedding: int | None = Field(None, ge=1, description="width of token embeddings; default: the model width")
    coverage: float = Field(0.0, ge=0, description="weight of the coverage loss, against repeated attention")


class RepeatContextOptions(Options):
    """Options of the text decoder `repeat-context`."""

    length: int = Field(1024, ge=2, description="longest text in characters")
    hidden: int = Field(32, ge=1, description="width of the scorer's hidden layer")
    dropout: float = Field(0.2, ge=0.0, lt=1.0, description="dropout on the scorer's hidden layer")


class InstructionOptions(Options):
    """Options of text decoders that give an instruction to a language model."""

    @field_validator("prompt", check_fields=False)
    @classmethod
    def _is_text(cls, value: str) -> str:
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            raise PydanticCustomError("encoding", "it is not valid UTF-8; type it again")
        return value


class LmOptions(InstructionOptions):
    """Options of the text decoder `lm`."""

    model: str = Field(
        "HuggingFaceTB/SmolLM2-135M",
        description="causal language model: a Hugging Face Hub id, a local folder or a GGUF file",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to use only the model's architecture"
    )
    trained: Literal["none", "prefix", "lora", "all"] = Field(
        "lora",
        description="what trains: nothing (it then reads texts only), the vectors of images and summary, LoRA weights "
        "as well, or the whole model",
    )
    rank: int = Field(16, ge=1, description="lora: rank of the updates")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="lora: dropout before the updates")
    lora_layers: int | None = Field(
        None,
        ge=1,
        description="lora: only this many top layers train; vectors enter there, and what lies below is computed once",
    )
    image_tokens: int = Field(4, ge=0, le=256, description="vectors made of each context frame's image")
    prefix: int = Field(4, ge=0, le=256, description="vectors made of the story's summary")
    prompt: str = Field("", description="instruction before the story, in the model's chat template if it has one")
    context_length: int = Field(
        512, ge=1, description="most tokens of the context's texts; the oldest are left out first"
    )
    length: int = Field(128, ge=2, description="longest text in tokens; longer training targets are truncated")
    context_loss: float = Field(
        1.0, ge=0.0, le=1.0, description="training: weight of each token of the context's texts, beside the target's"
    )
    share: float = Field(
        1.0, gt=0.0, le=1.0, description="training: share of each batch that the language model reads, at random"
    )
    gradient_checkpointing: bool = Field(
        False, description="training: compute activations twice instead of storing them"
    )
    cache: int = Field(
        1024, ge=0, description="lora_layers: memory in MiB for what is computed once, the frozen layers' activations"
    )

    @model_validator(mode="after")
    def _layers_of_lora(self) -> LmOptions:
        if self.lora_layers is not None and self.trained != "lora":
            raise PydanticCustomError("idle", "lora_layers needs trained=lora; leave it out")
        return self


class VlmOptions(InstructionOptions):
    """Options of the text decoder `vlm`."""

    model: str = Field(
        "HuggingFaceTB/SmolVLM-256M-Instruct",
        description="vision-language model: a Hugging Face Hub id or a local folder",
    )
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="'pretrained', or 'random' to use only the model's architecture"
    )
    trained: Literal["none", "lora", "all"] = Field(
        "none", description="what trains: nothing, LoRA weights in the language model, or the whole model"
    )
    rank: int = Field(16, ge=1, description="lora: rank of the updates")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="lora: dropout before the updates")
    prompt: str = Field(
        "These are the frames of a story in order, each with its text. "
        "Write the text of the next frame. Answer with that text only.",
        min_length=1,
        description="the instruction after the images and texts of the context",
    )
    length: int = Field(128, ge=2, description="longest text in tokens; longer training targets are truncated")
    context_length: int | None = Field(
        None,
        ge=1,
        description="longest conversation in tokens, images included, from which the oldest frames are left out; "
        "default: all that the model reads",
    )
    image_size: int | None = Field(
        None,
        ge=1,
        description="side in pixels of the images that the model reads, within what its image processor supports; "
        "default: that of the prepared images",
    )
    dtype: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="type of the weights; auto: bf16 on a machine with a GPU unless trained=all, else fp32"
    )


class RetrievalOptions(Options):
    """Options of the text decoder `retrieval`."""

    length: int = Field(1024, ge=2, description="longest text in characters")


@hookimpl
def vsr_text_decoders() -> list[Component]:
    """Declare the text decoders."""
    return [
        Component(
            name="gru",
            summary="a GRU that starts from the summary and generates token by token",
            build="vsr_plugins.text_decoders.gru:GruDecoder",
            options=GruOptions,
        ),
        Component(
            name="attention-gru",
            summary="a GRU that attends to the frames and words of the context at each token",
            build="vsr_plugins.text_decoders.gru:AttentionGruDecoder",
            options=AttentionGruOptions,
        ),
        Component(
            name="transformer",
            summary="a causal transformer that attends to the frames and words of the context",
            build="vsr_plugins.text_decoders.transformer:TransformerDecoder",
            options=TransformerOptions,
        ),
        Component(
            name="pointer-generator",
            summary="a GRU that generates a word or copies one from the context (pointer-generator network)",
            build="vsr_plugins.text_decoders.pointer_generator:PointerGeneratorDecoder",
            options=PointerGeneratorOptions,
        ),
        Component(
            name="repeat-context",
            summary="repeats the context's text with the highest expected overlap, as it stands; writes nothing new",
            build="vsr_plugins.text_decoders.repeat_context:RepeatContextDecoder",
            options=RepeatContextOptions,
        ),
        Component(
            name="lm",
            summary="a pretrained causal language model that reads the context's texts and images",
            build="vsr_plugins.text_decoders.lm:build",
            options=LmOptions,
            requires="vsr_plugins.text_decoders.lm_loading:requirements",
        ),
        Component(
            name="vlm",
            summary="a pretrained vision-language model that reads the context's images and texts as a conversation",
            build="vsr_plugins.text_decoders.vlm:build",
            options=VlmOptions,
            requires="vsr_plugins.text_decoders.vlm_loading:requirements",
        ),
        Component(
            name="retrieval",
            summary="retrieves the training text that the next_frame objective scores highest",
            build="vsr_plugins.text_decoders.retrieval:RetrievalTextDecoder",
            options=RetrievalOptions,
        ),
    ]
