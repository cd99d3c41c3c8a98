"""Files that people put below the folder of copies, or edit there.

Belongs here: which these are, and keeping a person's where another takes its place. Does not belong here: sending them
(`bucket`).
"""

from pathlib import Path

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.bucket.contents import Contents, sha256_of
from galaxy_assets.storage.bucket.copies import Copies, Copy
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.names import BY_HAND, name_of
from galaxy_assets.storage.files import state_of

log = logger(__name__)


class ByHand:
    """The files of people in one folder of copies.

    Parameters
    ----------
    root : Path
        The folder.
    copies : Copies
        Its record.
    """

    def __init__(self, root: Path, copies: Copies):
        self._root, self._copies = root, copies

    def found(self) -> list[Path]:
        """Files that a person put there, or edited."""
        found = []
        for path in (path for kind in BY_HAND for path in (self._root / kind).rglob("[!.]*")):
            name = name_of(path, self._root)
            if name is None or not path.is_file() or "/events/" in name or "/rankings/" in name:
                continue
            if self.is_edited(name):
                found.append(path)
        return found

    def is_edited(self, name: str, known: tuple[str, Head] | None = None) -> bool:
        """Whether a person's file is another one than was put there, and than the one known."""
        path, copy = self._root / name, self._copies.copy(name)
        if not name.startswith(BY_HAND) or not (state := state_or_none(path)):
            return False
        if copy is not None and (copy.state == state or (not copy.whole and not path.stat().st_size)):
            return False  # what stands for content stays that when the folder is moved to another disk
        try:
            return known is None or not known[1].files or known[1].files[""].sha256 != sha256_of(path)
        except FileNotFoundError:
            return False

    def is_known(self, name: str, sent: Head, state: str) -> bool:
        """Whether a file is what was put there, or the one known, which is taken down then; under the lock."""
        known, copy = self._copies.head_and_copy(name)
        if copy is not None and copy.state == state:
            return True
        if known is None or not known[1].files or known[1].files[""].sha256 != sent.files[""].sha256:
            return False
        self._copies.put([(name, Copy(known[0], True, known[1].size, state))])
        return True

    def is_the_last(self, name: str, copy: Copy | None, contents: Contents) -> bool:
        """Whether a file whose head has ended is a person's, and the bucket lost its content before that."""
        path = self._root / name
        if copy is None or not copy.whole or not name.startswith(BY_HAND) or "/events/" in name or not path.is_file():
            return False
        return not contents.has(name, path)

    def keep_mine(self, name: str, why: str = "was changed here and elsewhere") -> None:
        """Give this machine's file a hidden name beside it."""
        path, number = self._root / name, 0
        while (mine := path.with_name(f".{path.name}.mine{f'.{number}' if number else ''}")).exists():
            number += 1
        self._copies.drop([name])
        try:
            path.rename(mine)
        except FileNotFoundError:  # taken away meanwhile
            return
        log.warning("%s %s; this machine's is kept as %s", name, why, mine)


def state_or_none(path: Path) -> str:
    """What tells whether a file was changed; nothing of a folder, and of what is not there."""
    try:
        return str(state_of(path)) if path.is_file() else ""
    except FileNotFoundError:
        return ""
