"""The kinds of components, with their names in configurations, on the command line and among the hooks."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import VsrError, nearest


@dataclass(frozen=True)
class Kind:
    """One kind of component."""

    section: str
    """The section of a configuration, e.g. "text_decoder"."""
    hook: str
    title: str

    @property
    def flag(self) -> str:
        """The command-line option, e.g. "--text-decoder"."""
        return "--" + self.section.replace("_", "-")

    @property
    def word(self) -> str:
        """The title as one word, e.g. "text-decoder"."""
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
"""The components of a model, in the order in which they are built."""
ENCODERS: tuple[str, ...] = ("visual", "text")
"""Those of them that may have a frozen half."""


def kind_of_word(word: str) -> Kind:
    """Return the kind for a word such as "text-decoder" or "metrics". Raises VsrError if there is none."""
    asked = word.lower().replace("_", "-").replace(" ", "-").lstrip("-")
    for kind in KINDS:
        if asked.removesuffix("s") in (kind.word, kind.section.replace("_", "-").removesuffix("s")):
            return kind
    raise VsrError(f"kind '{word}': there is none of this name; {nearest(asked, [kind.word for kind in KINDS])}")
