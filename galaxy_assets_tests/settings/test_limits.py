"""The limits: the manual has every one, with its value; what is no regular file is never opened."""

import ast
import os
import socket
from pathlib import Path

import pytest

from galaxy_assets.settings import limits
from galaxy_assets.settings.regular import NotRegular, open_regular, read_regular, regular

MANUAL = Path(__file__).parents[2] / "docs/surveys.md"


def table() -> list[str]:
    """The rows of the manual's table, from the module."""
    said = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body[1:]
    rows = []
    for named, what in zip(said[::2], said[1::2], strict=True):
        assert isinstance(named, ast.Assign) and isinstance(named.targets[0], ast.Name)
        assert isinstance(what, ast.Expr) and isinstance(what.value, ast.Constant)
        name = named.targets[0].id
        value = getattr(limits, name)
        shown = f"{value // 2**20:,} MiB" if value >= 2**20 and value % 2**20 == 0 else f"{value:,}"
        rows.append(f"| `{name}` | {shown} | {' '.join(str(what.value.value).split()).rstrip('.')} |")
    return rows


def test_the_manual_has_every_limit_as_it_is():
    assert "\n".join(table()) in MANUAL.read_text(encoding="utf-8")


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 3) == b"abc" and regular(tmp_path / "link") == tmp_path / "link"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "folder").mkdir()
    at = os.open(tmp_path, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as here:
        here.bind(f"/proc/self/fd/{at}/socket")
    os.close(at)
    for name in ("pipe", "device", "folder", "socket"):
        for use in (open_regular, regular, lambda path: read_regular(path, 10)):
            with pytest.raises(NotRegular) as caught:
                use(tmp_path / name)
            assert caught.value.strerror in ("no regular file", "a folder")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")


def test_a_file_larger_than_asked_for_is_not_read(tmp_path):
    with (tmp_path / "hole").open("wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(NotRegular, match="more than 10 bytes"):
        read_regular(tmp_path / "hole", 10)
