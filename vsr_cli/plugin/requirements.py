"""Requirements of components that this machine lacks: reported together before anything is written, or downloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..api import Requirement, VsrError
from ..api.requirements import megabytes
from ..config.resolve import Choice
from ..config.schema import ObjectiveOptions
from ..console import say
from ..progress import download_progress
from .kinds import KIND_OF
from .loading import requirements


def find_requirements(choices: Iterable[tuple[str, Choice]]) -> dict[str, Requirement]:
    """Return what components lack, each once, by the line that names the component and what it lacks."""
    found: dict[str, Requirement] = {}
    for section, choice in dict.fromkeys(choices):
        for each in requirements(choice.provided, choice.options):
            found.setdefault(f"{KIND_OF[section].title} {choice.name}: {each.what}", each)
    return found


def provide(choices: Iterable[tuple[str, Choice]], *, mistakes: Sequence[str] = ()) -> None:
    """Download what components lack.

    Raises VsrError with the `mistakes` that are known already and a line for each requirement that cannot be met,
    before anything is downloaded.
    """
    found = find_requirements(choices)
    lines = [*mistakes, *(f"{name}: {each.problem}; {each.remedy}" for name, each in found.items() if each.problem)]
    if lines:
        raise VsrError(*lines)
    if found:
        _fetch(found)


def objective_mistakes(objective: ObjectiveOptions) -> list[str]:
    """Return an error line if the weights of the perceptual loss do not exist."""
    from ..api import missing_file

    if not (objective.perceptual and objective.perceptual_weights):
        return []
    remedy = "name the file of torchvision's weights by --set objective.perceptual_weights=FILE"
    found = missing_file(objective.perceptual_weights, what="the weights", remedy=remedy)
    return [f"objective perceptual: {each.what}: {each.problem}; {each.remedy}" for each in found]


def _fetch(found: Mapping[str, Requirement]) -> None:
    for name in found:
        say(f"downloading once: {name}")
    with download_progress() as bar:
        task = bar.add_task("", total=sum(each.size for each in found.values()) or None)
        for name, each in found.items():
            assert each.fetch is not None, "without a problem there is a way to fetch it"
            try:
                each.fetch(lambda count: bar.advance(task, count))
            except (OSError, ValueError) as error:
                reason = next(iter(str(error).splitlines()), "") or type(error).__name__
                raise VsrError(f"{name}: cannot be downloaded ({reason}); try again, or {each.remedy}") from error
    say(f"downloaded {megabytes(sum(each.size for each in found.values())) or len(found)}")
