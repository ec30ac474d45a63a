"""The words that an option can be set to, where there are only a few: for the command line and for the schema alike."""

from __future__ import annotations

from typing import Literal

TableFormat = Literal["table", "markdown", "latex", "csv", "json"]
Split = Literal["train", "validation", "test"]
HeldOutSplit = Literal["validation", "test"]
Protocol = Literal["held-out", "leaky"]
DecodingMethod = Literal["greedy", "beam", "sample", "mbr"]
Resize = Literal["stretch", "letterbox", "crop"]
Window = Literal["first", "sliding", "last"]
ShortStories = Literal["drop", "pad"]
SplitBy = Literal["auto", "official", "group", "block", "file", "train", "validation", "test"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Compute = Literal["fp32", "bf16"]
"""How features are computed, whatever they are stored in."""
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb"]
"""The experiment trackers that accelerate knows."""
Launcher = Literal["local", "submitit", "ray"]
