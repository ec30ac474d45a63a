"""The temporary folder of the app does not grow without limit."""

import os
import time
from types import SimpleNamespace

from vsr_cli.app.storage import remove_old_files


def test_the_oldest_files_are_removed_beyond_a_size_or_an_age_but_not_the_page_s_own(tmp_path):
    files = []
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append(folder / "image.png")
        files[-1].write_bytes(b"x" * 10)
        then = time.time() - 100 * (5 - number)
        os.utime(files[-1], (then, then))
    known = {str(file) for file in files}
    shown = SimpleNamespace(keep_in_cache={str(files[0])})
    page = SimpleNamespace(blocks={1: shown, 2: SimpleNamespace()}, upload_file_set=known, temp_file_sets=[known])
    remove_old_files(page, tmp_path, age=350, largest=1000)
    assert [file.exists() for file in files] == [True, False, True, True, True]
    remove_old_files(page, tmp_path, age=350, largest=25)
    assert [file.exists() for file in files] == [True, False, False, True, True]
    assert known == {str(files[number]) for number in (0, 3, 4)}
    assert not (tmp_path / "1").exists()
