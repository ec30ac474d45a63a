"""The result of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..console import plain_text
from ..report.score_table import other_baselines, score_table
from ..report.sheet_formats import to_latex, to_markdown
from ..report.sheets import evaluation_sheet

if TYPE_CHECKING:
    import pandas

WIDTH = 100
"""Characters of a line of `table`."""


class EvaluationResult:
    """The scores of a model beside their baselines. Jupyter shows them as a table."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        """Wrap the content of a result.json."""
        self.record = record
        """All that is known of the evaluation: the content of result.json."""

    @property
    def scores(self) -> dict[str, float]:
        """The score of each metric that could be computed."""
        return {name: cell["value"] for name, cell in self.record["metrics"].items() if "value" in cell}

    @property
    def cautions(self) -> list[str]:
        """What qualifies the scores, and why a metric could not be computed."""
        cells = self.record["metrics"].values()
        found = [cell.get("unavailable") or cell.get("caution") for cell in cells]
        return [*self.record["cautions"], *filter(None, found)]

    def table(self) -> str:
        """Return the scores, their intervals and baselines as a text, as the command prints them."""
        others = other_baselines(self.record["metrics"], width=WIDTH)
        tables = [score_table(self.record["metrics"], width=WIDTH), *([] if others is None else [others])]
        return plain_text(*tables, width=WIDTH)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row per metric: score, interval, baselines, upper bound, scale and direction."""
        import pandas

        rows = {}
        for name, cell in self.record["metrics"].items():
            if "value" not in cell:
                continue
            low, high = cell["ci95"] or (None, None)
            baselines = {key: each.get("value") for key, each in cell["baselines"].items()}
            ends = {"upper bound": cell["upper_bound"], "scale": cell["scale"], "better": cell["better"]}
            rows[name] = {"score": cell["value"], "ci95 low": low, "ci95 high": high, **baselines, **ends}
        frame = pandas.DataFrame.from_dict(rows, orient="index")
        frame.index.name = "metric"
        return frame

    def to_latex(self, metrics: Sequence[str] | None = None) -> str:
        """Return the table of some metrics, or all, as LaTeX with booktabs, as `vsr evaluate --format latex`."""
        return to_latex(evaluation_sheet(self.record, only=metrics))

    def to_markdown(self, metrics: Sequence[str] | None = None) -> str:
        """Return the same table as Markdown."""
        return to_markdown(evaluation_sheet(self.record, only=metrics))

    def __repr__(self) -> str:
        listed = ", ".join(f"{name}={value:.4g}" for name, value in self.scores.items())
        return f"EvaluationResult({self.record['split']}: {listed})"

    def _repr_html_(self) -> str:
        return str(self.to_pandas().to_html(float_format="{:.4g}".format, na_rep="–"))
