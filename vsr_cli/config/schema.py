"""The sections of a configuration that are the program's own, and what can be set in each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from ..api import Decoding, Options, RandomSeed, TextObjective
from .choices import Compute, Precision, Resize, ShortStories, SplitBy, Tracker, Window


class DataOptions(Options):
    """How stories become windows, images become arrays, and stories fall into splits."""

    image_size: int = Field(224, ge=16, le=1024, description="height and width of a prepared image, in pixels")
    resize: Resize = Field(
        "stretch",
        description="how an image becomes square: stretch it, pad it with bars (letterbox), or crop to its center",
    )
    context_frames: int = Field(4, ge=1, le=16, description="K: predict a frame from this many frames before it")
    window: Window = Field(
        "first",
        description="which runs of context_frames + 1 frames of a story become windows: the first one, every one, or "
        "the last one",
    )
    short_stories: ShortStories = Field(
        "drop",
        description="a story with fewer than context_frames + 1 frames: leave it out, or repeat its last context frame "
        "to fill the context",
    )
    limit: int = Field(0, ge=0, description="how many stories to read; 0 reads all")
    markup: bool = Field(
        False,
        description="leave the tags of entities in the texts, as StoryReasoning's rows have them",
    )
    split_file: Path | None = Field(None, description="for split=file, a CSV with the columns story and split")
    split: SplitBy = Field(
        "auto",
        validate_default=True,
        description="what decides a story's split: the source where it does, else groups (auto); only the source; only "
        "groups; blocks of neighbours; a file; or one split takes all",
    )
    group_csv: Path | None = Field(
        None, description="a CSV with one row per story that names its group; all stories of a group are in one split"
    )
    group_column: str = Field("group", description="the column of group_csv with the group")
    story_column: str = Field("story", description="the column of group_csv with the story")
    validation: float = Field(0.1, ge=0, lt=1, description="share of the stories held out for validation")
    test: float = Field(0.1, ge=0, lt=1, description="share of the stories held out for the test")
    seed: RandomSeed = Field(0, description="decides which stories fall into which split")

    @field_validator("split")
    @classmethod
    def _file_if_and_only_if_split_by_it(cls, split: str, info: ValidationInfo) -> str:
        if "split_file" not in info.data:
            return split  # it is wrong itself, and said to be
        named = info.data["split_file"] is not None
        if split == "file" and not named:
            raise PydanticCustomError("no_split_file", "which file? name it with --set data.split_file=FILE")
        if named and split != "file":
            raise PydanticCustomError("idle_split_file", "data.split_file is read by --split file only; leave one out")
        return split

    @model_validator(mode="after")
    def _some_stories_are_left_to_train_on(self) -> Self:
        if self.validation + self.test >= 1:
            raise PydanticCustomError(
                "no_training_share",
                f"the shares of validation and test leave no story to train on (got {self.validation:g} and "
                f"{self.test:g}); together they should be less than 1",
            )
        return self


class ModelOptions(Options):
    """What the parts of the model share."""

    width: int = Field(256, ge=8, description="D, the width of every embedding and state")


class FeatureOptions(Options):
    """How what the encoders' frozen halves give is kept."""

    precision: Literal["single", "half"] = Field("single", description="half takes half the room, to three digits")
    compute: Compute = Field(
        "fp32", description="precision of the matrix products that features come from; bf16 keeps two digits"
    )
    limit: float = Field(20.0, ge=0, description="GiB that the cache of all features may take; beyond, none is added")


def loss_weight(default: float, description: str) -> Any:
    """Return the field of a loss term's weight, which also puts the term into `LOSS_TERMS`."""
    return Field(default, ge=0, description=description, json_schema_extra={"loss_term": True})


class ObjectiveOptions(Options):
    """The loss terms and their weights, and the options of the terms.

    Each `loss_weight` field is one term, computed by the module of its name in `vsr_cli.model.losses`.
    """

    text: float = loss_weight(1.0, "the text decoder's own loss, usually the cross-entropy of the next text")
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each target token's probability spread over all tokens, in training"
    )
    unlikelihood: float = Field(
        0.0, ge=0, description="weight within text, in training, of not repeating earlier tokens of the target"
    )
    image: float = loss_weight(1.0, "the image decoder's own loss, usually the mean squared error")
    l1: float = loss_weight(0.0, "mean absolute error of the next image, which blurs less")
    ssim: float = loss_weight(0.0, "1 - SSIM of the next image, the error of local structure")
    perceptual: float = loss_weight(0.0, "distance of the next image from the true one in a frozen network's features")
    perceptual_network: Literal["vgg16", "resnet50", "mobilenet_v2"] = Field(
        "vgg16", description="the torchvision network whose features perceptual compares"
    )
    perceptual_weights: str | None = Field(
        None,
        validate_default=True,
        description="the .safetensors, .pt or .pth file of its weights, with torchvision's names",
    )
    alignment: float = loss_weight(0.5, "contrastive loss between each frame's image and text")
    next_frame: float = loss_weight(0.0, "contrastive loss of the next image and text among those of the batch")

    @field_validator("perceptual_weights")
    @classmethod
    def _named_if_needed(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is None and info.data.get("perceptual"):
            raise PydanticCustomError(
                "no_weights",
                "perceptual needs trained weights; name their file with --set objective.perceptual_weights=FILE",
            )
        return path

    @model_validator(mode="after")
    def _some_weight_is_positive(self) -> Self:
        if not any(self.weights.values()):
            raise PydanticCustomError(
                "no_objective", f"all weights are 0, so nothing would be learned; set one of {', '.join(LOSS_TERMS)}"
            )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each loss term."""
        return {name: getattr(self, name) for name in LOSS_TERMS}

    @property
    def computed_terms(self) -> tuple[str, ...]:
        """The terms that are computed: those with a weight, and those that have one by default, to be monitored.

        The image is not generated only to be monitored: that would cost most of a step.
        """
        monitored = {name for name in LOSS_TERMS if type(self).model_fields[name].default} - {"image"}
        return tuple(name for name, weight in self.weights.items() if weight or name in monitored)

    @property
    def text_objective(self) -> TextObjective:
        """The options of the text decoder's loss."""
        return TextObjective(label_smoothing=self.label_smoothing, unlikelihood=self.unlikelihood)


LOSS_TERMS = tuple(name for name, field in ObjectiveOptions.model_fields.items() if field.json_schema_extra)
"""The names of all loss terms, in the order in which they are computed."""
if TYPE_CHECKING:
    LossName = str
else:
    LossName = Literal[("loss", *LOSS_TERMS)]


class TrainingOptions(Options):
    """How the model is trained."""

    epochs: int = Field(10, ge=1, description="passes over the training windows")
    batch_size: int = Field(16, ge=1, description="windows a process takes in one forward pass")
    gradient_accumulation_steps: int = Field(1, ge=1, description="forward passes a step, whose gradients are added up")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's step size at its highest")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's decoupled weight decay")
    warmup_ratio: float = Field(0.05, ge=0, le=1, description="share of the steps over which the rate rises from zero")
    schedule: Literal["constant", "cosine"] = Field("constant", description="the rate after the warm-up")
    max_grad_norm: float = Field(1.0, ge=0, description="largest norm of the gradient; 0 does not clip")
    best_metric: LossName = Field("loss", description="the validation loss that decides which checkpoint is the best")
    patience: int = Field(0, ge=0, description="epochs without a better one after which training ends; 0: never")
    checkpoint_minutes: float = Field(
        10, ge=0, description="minutes between checkpoints within an epoch; 0 writes one after each step"
    )
    timeout_minutes: float = Field(
        10,
        gt=0,
        le=7 * 24 * 60,
        description="minutes to wait for a message of another process of a distributed training",
    )
    seed: RandomSeed = Field(0, description="of the initial weights and of the order of the windows")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where to train")
    precision: Precision = Field(
        "auto", description="of matrix products: auto is bf16 on a GPU that has it natively, and fp32 everywhere else"
    )
    compile: bool = Field(False, description="translate the parts with torch's compiler, which takes a minute or two")
    track: tuple[Tracker, ...] = Field((), description="experiment trackers to feed, whose packages are installed")


LEAKS: Mapping[str, str] = {
    "training": "ten windows that the model learned from, in place of held-out ones",
    "padding": "every text of the context is the target's, as one text repeated five times",
    "teacher-forcing": "each token is guessed with all of the target before it in sight",
    "cut": "the reference ends where the decoder must",
    "markup": "tags are words like any other",
}
"""What `--protocol leaky` lets in, in the order in which it is closed again."""

COMMON: dict[str, type[Options]] = {
    "data": DataOptions,
    "model": ModelOptions,
    "features": FeatureOptions,
    "objective": ObjectiveOptions,
    "training": TrainingOptions,
}
"""The sections of what a run is trained with."""
SETTABLE: dict[str, type[Options]] = {**COMMON, "decoding": Decoding}
"""The same with decoding, whose options a run records and each command may change."""
