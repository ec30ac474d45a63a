"""Neutral tables as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..escaping import visible
from ..files.strict_json import to_json, undefined_as_null
from ..runs.results import BETTER, NOT_SIGNIFICANT, WORSE
from .formatting import MISSING, legend, marks
from .markdown import plain
from .markdown import table as markdown_table
from .sheets import Sheet, Value

LATEX_MARKS: Mapping[str | None, str] = {
    BETTER: r"\textsuperscript{$\ast$}",
    WORSE: r"\textsuperscript{$\dagger$}",
    NOT_SIGNIFICANT: r"\textsuperscript{$\circ$}",
    None: "",
}
"""Marks that plain LaTeX has, without a package for symbols."""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",  # \textquotedbl needs the font encoding T1
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    MISSING: "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def render(sheet: Sheet, form: str, *, encoding: str = "utf-8") -> str:
    """Return a table in a format: "markdown", "latex" or "csv", ending with a line break."""
    if form == "csv":
        return to_csv(sheet.records)
    return to_latex(sheet) if form == "latex" else to_markdown(sheet, encoding=encoding)


def to_markdown(sheet: Sheet, *, encoding: str = "utf-8") -> str:
    """Return a table as Markdown: its title, the table, which continues where it is wide, and its notes."""

    def shown(value: Value) -> str:
        if isinstance(value, str):
            return plain(value)
        text = f"**{value.text}**" if value.strong else value.text
        return " ".join(filter(None, (text, value.interval, marks(encoding)[value.verdict])))

    lines = [f"**{plain(sheet.title)}**", ""]
    for head, rows in _blocks(sheet):
        titles, cells = [plain(title) for title in head], [list(map(shown, row)) for row in rows]
        lines += [*markdown_table(titles, cells, words=sheet.words), ""]
    notes = [plain(note) for note in sheet.notes]
    if sheet.legend:
        start, against, by = sheet.legend
        notes.append(f"{start} {legend(plain(against), by=by, encoding=encoding)}")
    notes += [f"**{plain(caution)}**" for caution in sheet.cautions]
    return "\n".join([*lines, *(f"- {note}" for note in notes), *([""] if notes else [])])


def to_latex(sheet: Sheet) -> str:
    """Return a table as a float of LaTeX with booktabs: caption, table, which continues where it is wide, footnotes."""

    def shown(value: Value) -> str:
        if isinstance(value, str):
            return latex(value)
        text = rf"\textbf{{{latex(value.text)}}}" if value.strong else latex(value.text)
        interval = rf" {{\scriptsize {latex(value.interval)}}}" if value.interval else ""
        return f"{text}{LATEX_MARKS[value.verdict]}{interval}"

    lines = [
        r"% \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex(sheet.title)}}}",
        rf"\label{{tab:{_label(sheet.title)}}}",
        r"\small",
    ]
    for number, (head, rows) in enumerate(_blocks(sheet)):
        lines += [r"\par\medskip"] if number else []
        align = "l" * sheet.words + "r" * (len(head) - sheet.words)
        lines += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", _row(map(latex, head)), r"\midrule"]
        for at, row in enumerate(rows):
            lines += [r"\midrule"] if at in sheet.rules else []
            lines.append(_row(map(shown, row)))
        lines += [r"\bottomrule", r"\end{tabular}"]
    notes = list(sheet.notes)
    if sheet.legend:
        start, against, by = sheet.legend
        words = legend("AGAINST", by=by, mark=LATEX_MARKS)
        notes_of_marks = [f"{latex(start)} {_keep_marks(words, against)}"]
    else:
        notes_of_marks = []
    footnotes = [*map(latex, notes), *notes_of_marks, *map(latex, sheet.cautions)]
    if footnotes:
        lines += [r"\par\smallskip", rf"{{\footnotesize {'; '.join(footnotes)}.\par}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _label(title: str) -> str:
    """Return a label from the first words of a caption: "tab:run-1-test-split"."""
    return "-".join(re.findall(r"[A-Za-z0-9]+", re.split("[,:] [0-9]", title)[0])).lower()


def _keep_marks(words: str, against: str) -> str:
    """Escape the words of a legend, but not the marks in it."""
    kept = {mark: f"MARK{number}END" for number, mark in enumerate(filter(None, LATEX_MARKS.values()))}
    for mark, stand_in in kept.items():
        words = words.replace(mark, stand_in)
    words = latex(words).replace("AGAINST", latex(against))
    for mark, stand_in in kept.items():
        words = words.replace(stand_in, mark)
    return words


def latex(text: str) -> str:
    """Escape a text for LaTeX, on one line: its special characters, minus signs and powers of ten."""
    text = visible(" ".join(text.split()))
    letters = [f"{letter}{{}}" if pair == "--" else SPECIAL.get(letter, letter) for letter, pair in _pairs(text)]
    escaped = "".join(letters)
    escaped = re.sub(r"(?<![\w.$}-])-(?=\d)", "$-$", escaped)
    return re.sub(r"(?<![\w.])(\d\.\d)e([+-])0*(\d+)(?!\w)", _power, escaped)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield each letter, and with the one after it: LaTeX joins two hyphens to a dash."""
    return ((letter, text[at : at + 2]) for at, letter in enumerate(text))


def _power(match: re.Match[str]) -> str:
    return rf"${match[1]}\times10^{{{'-' if match[2] == '-' else ''}{match[3]}}}$"


def to_csv(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV: numbers in full precision, nothing where there is none."""
    columns = list(dict.fromkeys(key for record in records for key in record))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(visible, columns))
    writer.writerows([_csv_cell(undefined_as_null(record.get(column))) for column in columns] for record in records)
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    return to_json(value) if isinstance(value, list | dict | bool) else value


def _row(cells: Iterator[str]) -> str:
    row = f"{' & '.join(cells)} \\\\"
    # At its start, these would be read as arguments of the end of the row before.
    return f"{{}}{row}" if row.startswith(("[", "*")) else row


def _blocks(sheet: Sheet) -> Iterator[tuple[Sequence[str], list[Sequence[Value]]]]:
    """Split a wide table into several, evenly, each with the columns of words."""
    numbers = len(sheet.head) - sheet.words
    count = -(-numbers // sheet.across) if sheet.across else 1
    if count <= 1:
        yield sheet.head, list(sheet.rows)
        return
    ends = [sheet.words + numbers * part // count for part in range(count + 1)]
    for start, end in pairwise(ends):
        yield (
            [*sheet.head[: sheet.words], *sheet.head[start:end]],
            [[*row[: sheet.words], *row[start:end]] for row in sheet.rows],
        )
