"""Uploading a run to the Hugging Face Hub, in one commit that replaces the run of the commit before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import VsrError
from ..progress import download_progress
from .hub import HubId
from .run import OWNED

LARGE = 10**6
"""Bytes from which a file is uploaded by itself, so that the progress shows it."""


def upload_run(
    folder: Path, names: Sequence[str], to: HubId, *, private: bool, message: str, others: Sequence[str] = ()
) -> str:
    """Commit files of a folder to a repository, which is created if it is missing, and return the commit's address.

    Files that vsr uploaded before and that are not among the `names` are deleted, all others are left alone. A new
    repository is public unless `private`; an existing one stays as it is. `others` are further files of the folder.
    Raises VsrError, in one line, if the Hub refuses it or cannot be reached; the repository is then as it was.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    with _errors(to):
        api.create_repo(to.repo, private=private or None, exist_ok=True)
        if to.revision:
            api.create_branch(to.repo, branch=to.revision, exist_ok=True)
        info = api.model_info(to.repo, revision=to.revision)
        if private and not info.private:
            raise VsrError(
                f"{to.repo}: exists and is public, so --private would have no effect; make it private on its page, or "
                "name another repository"
            )
        there = [file.rfilename for file in info.siblings or ()]
        uploaded = {*names, *others}
        stale = [name for name in there if name not in uploaded and name.split("/")[0] in OWNED]
        additions = [CommitOperationAdd(name, folder / name) for name in sorted(uploaded)]
        large = [each for each in additions if each.upload_info.size >= LARGE]
        with download_progress() as bar:
            task = bar.add_task("uploading", total=sum(each.upload_info.size for each in large))
            for each in large:  # one by one, as their content is sent before the commit
                api.preupload_lfs_files(to.repo, [each], revision=to.revision, free_memory=False)
                bar.advance(task, each.upload_info.size)
        deletions = [CommitOperationDelete(name) for name in stale]
        commit = api.create_commit(to.repo, [*additions, *deletions], commit_message=message, revision=to.revision)
    return str(commit.commit_url)


@contextmanager
def _errors(to: HubId) -> Iterator[None]:
    """Convert errors of huggingface_hub to one VsrError."""
    from huggingface_hub.errors import (  # type: ignore[attr-defined]
        HTTPError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    from ..api import hub_reason, quiet_hub

    login = "log in with 'hf auth login', or set HF_TOKEN to a token with the permission to write"
    again = "run the same command again, which skips large files that are there already"
    try:
        # Its bars move the cursor, several lines up, which is no plain text.
        with quiet_hub(), _without_bars():
            yield
    except OfflineModeIsEnabled as error:
        raise VsrError(f"{to}: the Hub is switched off here (HF_HUB_OFFLINE); unset it to upload") from error
    except (LocalTokenNotFoundError, RepositoryNotFoundError) as error:
        raise VsrError(f"{to}: the Hugging Face Hub does not know who uploads; {login}") from error
    except (OSError, HTTPError, ValueError, RuntimeError) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status == 401:
            raise VsrError(f"{to}: the Hugging Face Hub does not know who uploads; {login}") from error
        if status == 403:
            raise VsrError(f"{to}: no permission to write there (403); check the name, and {login}") from error
        if isinstance(error, ConnectionError) or (status is None and isinstance(error, HTTPError)):
            remedy = "check the connection and HF_ENDPOINT"
            raise VsrError(f"{to}: the Hugging Face Hub cannot be reached ({hub_reason(error)}); {remedy}") from error
        raise VsrError(f"{to}: uploading failed ({hub_reason(error)}); {again}") from error


@contextmanager
def _without_bars() -> Iterator[None]:
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
