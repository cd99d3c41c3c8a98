"""Files and folders of a server go when nobody needs them any more."""

import subprocess
import sys
import tempfile
from pathlib import Path

from galaxy_assets.explorer import shared as sharing
from galaxy_assets.explorer import temporary
from galaxy_assets.explorer.shared import Shared
from galaxy_assets.storage.layout import Layout
from galaxy_assets.storage.owners import owner


def test_the_newest_exports_are_kept_and_older_ones_leave_the_disk(tmp_path):
    shared = Shared(Layout(tmp_path), "http://127.0.0.1:1")
    paths = []
    for i in range(sharing._DOWNLOADS + 3):
        file = shared.folder / f"{i}.csv"
        file.write_text(str(i))
        paths.append(shared.offer(file, "table.csv"))
    assert sorted(int(file.stem) for file in shared.folder.iterdir()) == list(range(3, sharing._DOWNLOADS + 3))
    found = [shared.offered(path.rsplit("/", 1)[1]) for path in paths]
    assert found[:3] == [None] * 3 and all(kept and kept[0].is_file() for kept in found[3:])


def test_folders_of_servers_that_were_killed_are_removed_and_no_others(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs = [tmp_path / f"{kind}{owner(other.pid)}_x" for kind in (temporary.DOWNLOADS, temporary.STORAGE)]
        for folder in theirs:
            folder.mkdir()
            (folder / "export.zip").write_text("x")
        assert temporary.remove_left() == [], "it runs"
        other.kill()
    aside = tmp_path / "kept"
    aside.mkdir()
    (tmp_path / f"{theirs[0].name}_link").symlink_to(aside)
    elsewhere = tmp_path / f"{temporary.DOWNLOADS}00000000-1-1_x"
    older = tmp_path / f"{temporary.DOWNLOADS}abcd"
    mine = [temporary.make_folder(temporary.DOWNLOADS), temporary.make_folder(temporary.STORAGE)]
    for folder in (elsewhere, older):
        folder.mkdir()
    assert sorted(temporary.remove_left()) == sorted(theirs)
    assert not any(folder.exists() for folder in theirs)
    assert all(Path(folder).is_dir() for folder in (aside, elsewhere, older, *mine))
