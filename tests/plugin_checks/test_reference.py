from importlib.metadata import entry_points
from pathlib import Path

from vsr_cli.cli.plugins_reference import reference_page
from vsr_cli.plugin.discovery import GROUP, discover

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "components.md"


def test_the_page_is_that_of_what_is_shipped():
    ours = [point for point in entry_points(group=GROUP) if point.value.startswith("vsr_plugins.")]
    page = reference_page(discover(ours, disabled=set()))
    assert PAGE.read_text(encoding="utf-8") == page, "stale: vsr plugins reference > docs/reference/components.md"
