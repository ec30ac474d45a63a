"""What a plugin declares: components, each with a name, options and the import path of its code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, get_origin

import pluggy
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

hookimpl = pluggy.HookimplMarker("vsr")
"""Mark a function of a plugin as an implementation of a hook of `vsr_cli.plugin.hookspecs`."""


LARGEST_INTEGER = 2**32 - 1
"""Largest integer of any option, and numpy's largest random seed."""


def _seed_in_range(seed: int) -> int:
    if not 0 <= seed <= LARGEST_INTEGER:
        raise PydanticCustomError("seed_range", f"input should be between 0 and {LARGEST_INTEGER}")
    return seed


RandomSeed = Annotated[int, AfterValidator(_seed_in_range)]
"""Type of an option that is a random seed: 0 to 2**32 - 1, which every library accepts."""


class Options(BaseModel):
    """The options of one component: frozen, strict about unknown keys, and without NaN or infinity.

    Subclass it and give each field a type, a default and a `Field(description=...)`: the same class parses
    `--set`, is printed by `vsr plugins show`, and is recorded with the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)

    @field_validator("*", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object, info: ValidationInfo) -> object:
        """Read "5,5,7", which is how `--set` passes several values, where the type is a tuple."""
        assert info.field_name is not None
        if isinstance(value, str) and get_origin(cls.model_fields[info.field_name].annotation) is tuple:
            return [part.strip() for part in value.split(",")] if value.strip() else []
        return value

    @field_validator("*")
    @classmethod
    def _no_integer_overflows(cls, value: object) -> object:
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise PydanticCustomError("too_large", f"input should be at most {LARGEST_INTEGER}")
        return value


@dataclass(frozen=True, kw_only=True)
class Component:
    """A component that is selected by name.

    `build` is the import path of a class or function, "package.module:name", imported when the component is first
    used, so that declarations stay light. `vsr_cli.plugin.hookspecs` specifies its arguments for each kind.

    Raises ValueError if the name is not lower-case words joined by hyphens, `build` is not an import path, or the
    options are not a subclass of `Options`.
    """

    name: str
    summary: str
    build: str
    options: type[Options] = Options
    requires: str | None = None
    """Import path of a function from the options to a list of `Requirement`: the weights, models and libraries that are
    missing on this machine. It is called before anything is read or written."""
    frozen_source: str | None = None
    """Of an encoder that implements `DefersFrozenHalf`: import path of a function from the options to a `FrozenSource`,
    or to None if nothing is frozen or the source is not known. It imports no large library."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(?:[-_][a-z0-9]+)*", self.name):
            raise ValueError(f"component name {self.name!r} is not lower-case words joined by '-' or '_'")
        for field, target in (
            ("build", self.build),
            ("requires", self.requires),
            ("frozen_source", self.frozen_source),
        ):
            if target is not None and not re.fullmatch(r"[\w.]+:\w+", target):
                raise ValueError(f"component {self.name}: {field} {target!r} is not 'package.module:name'")
        if not (isinstance(self.options, type) and issubclass(self.options, Options)):
            raise ValueError(f"component {self.name}: options is not a subclass of vsr_cli.api.Options")
        if "name" in self.options.model_fields:
            raise ValueError(f"component {self.name}: an option cannot be called 'name', which chooses the component")
