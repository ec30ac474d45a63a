"""The kinds of component: how each is called in a configuration, on the command line and among the hooks."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import VsrError, nearest


@dataclass(frozen=True)
class Kind:
    """One kind of component."""

    section: str
    """Its section in a configuration, e.g. "text_decoder"."""
    hook: str
    title: str

    @property
    def flag(self) -> str:
        """Its option on the command line, e.g. "--text-decoder"."""
        return "--" + self.section.replace("_", "-")

    @property
    def word(self) -> str:
        """Its title as one word of a command line, e.g. "text-decoder"."""
        return self.title.replace(" ", "-")


KINDS: tuple[Kind, ...] = (
    Kind("visual", "vsr_visual_encoders", "visual encoder"),
    Kind("text", "vsr_text_encoders", "text encoder"),
    Kind("fusion", "vsr_fusions", "fusion"),
    Kind("temporal", "vsr_temporal_models", "temporal model"),
    Kind("text_decoder", "vsr_text_decoders", "text decoder"),
    Kind("image_decoder", "vsr_image_decoders", "image decoder"),
    Kind("dataset", "vsr_datasets", "dataset"),
    Kind("metrics", "vsr_metrics", "metric"),
)
KIND_OF: dict[str, Kind] = {kind.section: kind for kind in KINDS}
MODEL_COMPONENTS: tuple[str, ...] = ("visual", "text", "fusion", "temporal", "text_decoder", "image_decoder")
"""The parts of a model, in the order in which they are built."""


def kind_of_word(word: str) -> Kind:
    """Return the kind that a word such as "text-decoder" or "metrics" means. Raises VsrError if it means none."""
    asked = word.lower().replace("_", "-").replace(" ", "-").lstrip("-")
    for kind in KINDS:
        if asked.removesuffix("s") in (kind.word, kind.section.replace("_", "-").removesuffix("s")):
            return kind
    raise VsrError(f"kind '{word}': there is none of this name; {nearest(asked, [kind.word for kind in KINDS])}")
