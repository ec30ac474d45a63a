"""What can go wrong with a hub, each in one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...errors import VsrError
from .pieces import Cut


class OutOfReach(Exception):
    """The hub cannot be asked, and nothing stands in for it; the cause says why."""


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """What is asked of the hub, as an error's line names it."""

    hub_id: str
    revision: str | None
    streaming: bool
    instead: str
    """What else the user may do, e.g. "or give a local folder of its files"."""

    def __str__(self) -> str:
        return f"{self.hub_id} at revision {self.revision}" if self.revision else self.hub_id


@contextmanager
def told_in_one_line(wish: StopRequest) -> Iterator[None]:
    """Turn what the hub's library and a broken transfer raise into one VsrError."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: its client's own, kept there
        GatedRepoError,
        HTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    verb = "streaming" if wish.streaming else "fetching"
    try:
        yield
    except GatedRepoError as error:
        what = "this dataset asks for a login; accept its terms on the hub and run `hf auth login`"
        raise VsrError(f"{wish}: {what}, {wish.instead}") from error
    except RepositoryNotFoundError as error:
        what = "no such dataset on the Hugging Face hub, or a private one; check the id"
        raise VsrError(f"{wish}: {what}, {wish.instead}") from error
    except RevisionNotFoundError as error:
        raise VsrError(f"{wish}: the dataset has no such revision; leave it out for the newest") from error
    except OutOfReach as error:
        what = "a stream needs the Hugging Face hub, which" if wish.streaming else "not in the local cache, and the hub"
        what = f"{what} cannot be reached ({_reason(error.__cause__ or error)})"
        remedy = f"check the connection, HF_ENDPOINT and HF_HUB_OFFLINE, {wish.instead}"
        raise VsrError(f"{wish}: {what}; {remedy}") from error
    except Cut as error:
        had = f"{error.at / 1e6:.1f} of {error.file.size / 1e6:.1f} MB"
        what = f"{verb} {error.file.name} stopped at {had} ({_reason(error.__cause__ or error)})"
        remedy = "the same command goes on from there"
        if wish.streaming:
            remedy = "a stream keeps nothing, without dataset.streaming=true the next try goes on where it stopped"
        raise VsrError(f"{wish}: {what}; {remedy}, {wish.instead}") from error
    except (OSError, HTTPError, ValueError, RuntimeError) as error:
        raise VsrError(f"{wish}: {verb} it failed ({_reason(error)}); try again, {wish.instead}") from error


def _reason(error: BaseException) -> str:
    """Return first line of an error that says anything, without the address, whose end may be a page of signature."""
    lines = (line.strip() for line in str(error).splitlines())
    first = next(filter(None, lines), type(error).__name__)
    return re.sub(r" for url:? \S+", "", first)[:300]
