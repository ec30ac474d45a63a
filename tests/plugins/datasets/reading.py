"""What a dataset reads, for the tests of all datasets."""

import pytest

from vsr_cli.api import Dataset, Story, VsrError


def codes(story: Story) -> list[tuple[str, int | None]]:
    """Return the code and the frame of each note."""
    return [(note.code, note.frame) for note in story.notes]


def error_of(dataset: Dataset, source: object) -> str:
    """Read everything and return the error, which must be one line."""
    with pytest.raises(VsrError) as caught:
        list(dataset.read(None if source is None else str(source)))
    assert "\n" not in str(caught.value)
    return str(caught.value)
