"""Write the WordNet tables that METEOR reads, from the files of Debian's package `wordnet-base`.

    python scripts/build_wordnet.py [SOURCE]

SOURCE is a WordNet 3.0 database (default: /usr/share/wordnet). The format of its files is described in wndb(5WN), that
of the tables in `vsr_plugins/metrics/wordnet.py`. The licence stands at the head of the data files, and is copied.
"""

from __future__ import annotations

import lzma
import re
import sys
from pathlib import Path

SOURCE = Path("/usr/share/wordnet")
TABLES = Path(__file__).parents[1] / "plugins/vsr_plugins/metrics/wordnet-3.0"
PARTS_OF_SPEECH = ("noun", "verb", "adj", "adv")


def licence(source: Path) -> str:
    """Return the licence at the head of a data file, without its line numbers."""
    lines = (source / "data.noun").read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("  ")]
    return "".join(re.sub(r"^ +\d+ ", "", line).rstrip() + "\n" for line in head)


def tables(source: Path, pos: str) -> dict[str, str]:
    """Return the text of each table of a part of speech, by name."""
    places: dict[int, int] = {}
    written = []
    size = 0
    for line in (source / f"data.{pos}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        # synset_offset lex_filenum ss_type w_cnt word lex_id [word lex_id...] ..., with w_cnt hexadecimal
        fields = line.split()
        words = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
        # An adjective's word may end in its syntactic place, e.g. "(p)" for predicate position.
        written.append(" ".join(re.sub(r"\([^()]*\)$", "", word) for word in words) + "\n")
        places[int(fields[0])] = size
        size += len(written[-1].encode())
    synsets = "".join(written)
    index = []
    for line in (source / f"index.{pos}").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):
            continue
        # lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset...
        fields = line.split()
        index.append(" ".join([fields[0], *(str(places[int(at)]) for at in fields[-int(fields[2]) :])]) + "\n")
    index.sort(key=lambda line: line.split(" ")[0].encode())
    # Of two lines for one irregular form the last counts, as in nltk.
    exceptions = {}
    for line in (source / f"{pos}.exc").read_text(encoding="utf-8").splitlines():
        if words := line.split():
            exceptions[words[0]] = " ".join(words) + "\n"
    return {"index": "".join(index), "synsets": synsets, "exceptions": "".join(exceptions.values())}


def write_tables(source: Path, folder: Path) -> None:
    """Write all tables and the licence of a database to a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "LICENSE").write_text(licence(source), encoding="utf-8")
    for pos in PARTS_OF_SPEECH:
        for name, content in tables(source, pos).items():
            packed = lzma.compress(content.encode(), preset=6 | lzma.PRESET_EXTREME)
            (folder / f"{name}.{pos}.xz").write_bytes(packed)


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCE
    if "WordNet 3.0 Copyright" not in licence(chosen):
        sys.exit(f"{chosen}: not WordNet 3.0; install Debian's wordnet-base or name another folder")
    write_tables(chosen, TABLES)
