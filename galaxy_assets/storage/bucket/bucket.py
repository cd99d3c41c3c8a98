"""A data folder in a bucket: this machine has a folder of copies, in which everything else works as in a data folder.

    <bucket>/heads/<name>.json                        what the file of that name is now (`heads`)
    <bucket>/data/<name without suffix>/<sha256>.*    content, written once
    <bucket>/chunks/<name>/<mark>/<row>.parquet       rows of cutouts that are being filled, for other workers
    <copies>/<name>                                   the file, or an empty one until its content is asked for
    <copies>/.copies.sqlite, .store.lock              what this machine knows (`copies`), and its lock

A write sends the content, replaces the head if it is still the one that was seen when the work began, and renames the
file into its place. What waits to be filled, locks, spools and what surveys deliver stay on this machine.

Belongs here: this protocol. Does not belong here: which files it holds for (`names`), requests to the bucket
(`objects`).
"""

import base64
import os
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeGuard

import pyarrow as pa

from galaxy_assets.settings.printing import logger
from galaxy_assets.storage.bucket import limit
from galaxy_assets.storage.bucket.by_hand import ByHand, state_or_none
from galaxy_assets.storage.bucket.contents import PIXELS, Contents, NotAsSent
from galaxy_assets.storage.bucket.copies import DAMAGED, Copies, Copy
from galaxy_assets.storage.bucket.heads import Head
from galaxy_assets.storage.bucket.names import DERIVED, is_large, name_of, unit_of
from galaxy_assets.storage.bucket.objects import BucketError, Changed, Missing, Objects
from galaxy_assets.storage.bucket.waste import old_objects, removed
from galaxy_assets.storage.bucket.whereabouts import heads_of
from galaxy_assets.storage.files import DamagedFile, partial_name, told_of
from galaxy_assets.storage.locks import held
from galaxy_assets.storage.owners import LONGEST_RUN
from galaxy_assets.storage.store import FOLDER, Conflict, CutRows

log = logger(__name__)

_AT_ONCE = 8
"""Files that are fetched at once."""
_MANY = 5000
"""Heads that are held at once."""
_LOOKS = 5
"""Times that heads are listed again where they change meanwhile."""


class Bucket:
    """The store of a bucket. Safe to use from several threads, and from several processes of a machine.

    Parameters
    ----------
    address : str
        Such as `s3://bucket/prefix`.
    root : Path
        Folder of this machine's copies; it is made.
    """

    def __init__(self, address: str, root: Path):
        self.root, self._objects = root, Objects(address)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BucketError(
                f"{root}, for copies of {self._objects.address}, cannot be made ({error.strerror}); set "
                "GALAXY_ASSETS_CACHE to a folder of this machine's disk"
            ) from error
        self._heads = heads_of(self._objects)
        self._copies = Copies(root / ".copies.sqlite")
        self._contents = Contents(self._objects, self._copies.damaged_objects)
        self._hand = ByHand(root, self._copies)
        self._seen: dict[str, str] = {}
        self._begun: tuple[str, dict[str, str]] | None = None
        self._looked = 0.0
        self._told: set[str] = set()
        self._mutex = threading.RLock()
        self.refresh()

    def local(self, path: Path) -> Path:
        """As `Store.local`: fetch it, if an empty file stands in its place."""
        try:
            status = path.stat()
        except FileNotFoundError:
            return path
        if status.st_size:
            limit.used(path, status)
        elif (name := unit_of(path, self.root)) is not None:
            self._fetch(name)
        return path

    def schema(self, path: Path) -> pa.Schema | None:
        """As `Store.schema`: the head has it, unless what lies here is of another one."""
        name = name_of(path, self.root)
        known, copy = self._copies.head_and_copy(name) if name is not None else (None, None)
        if known is None or copy is None or copy.token != known[0] or not known[1].footer:
            return None
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(known[1].footer)))

    def commit(self, partial: Path, path: Path) -> None:
        """As `Store.commit`."""
        if (name := name_of(path, self.root)) is None:
            FOLDER.commit(partial, path)
            return
        head = self._contents.sent(name, partial)
        with self._lock():
            self._replace(name, head)
            state = state_or_none(partial)
            FOLDER.commit(partial, path)
            self._placed(name, head, state, whole=True)
        self._trim()

    def remove(self, path: Path) -> None:
        """As `Store.remove`: a head that names no file takes its head's place."""
        with self._lock():
            for name in self._below(path):
                self._end(name)
            FOLDER.remove(path)

    def move(self, path: Path, to: Path) -> None:
        """As `Store.move`: no content is sent again."""
        names, home = self._below(path), name_of(to, self.root)
        if home is None or not names:  # not in the bucket yet: put there by hand
            FOLDER.move(path, to)
            if home is not None:
                self._take_in(to)
            return
        small = []
        with self._lock():
            for name in names:
                known = self._copies.head(name)
                assert known is not None
                new = home + name.removeprefix(self._relative(path))
                head = Head(known[1].files, known[1].made, uuid.uuid4().hex, known[1].footer)
                self._replace(new, head)
                self._end(name)
                if is_large(new):
                    self._stand_in(new, head)
                else:
                    small.append(new)
            FOLDER.remove(path)
        self._fetch_small(small)

    def chunk(self, folder: Path, mark: str, row: int) -> CutRows | None:
        """As `Store.chunk`."""
        name = self._relative(folder)
        try:
            rows, _ = self._objects.get(f"chunks/{name}/{mark}/{row:09d}.parquet")
            pixels, _ = self._objects.get(f"chunks/{name}/{mark}/{row:09d}.npy")
        except Missing:
            return None
        return CutRows(pixels, rows)

    def keep_chunk(self, folder: Path, mark: str, row: int, chunk: CutRows) -> None:
        """As `Store.keep_chunk`: the rows are sent last."""
        name = self._relative(folder)
        self._objects.put_once(f"chunks/{name}/{mark}/{row:09d}.npy", bytes(chunk.pixels))
        self._objects.put_once(f"chunks/{name}/{mark}/{row:09d}.parquet", chunk.rows)

    def refresh(self, every: float = 0.0) -> None:
        """As `Store.refresh`."""
        with self._mutex:
            if every and time.monotonic() - self._looked < every:
                return
            if not every:
                self._begun = None
            self._look()
            self._looked = time.monotonic()

    def begin(self, step: str) -> None:
        """As `Store.begin`."""
        with self._mutex:
            if self._begun is None or self._begun[0] != step:
                self.refresh()
                self._begun = step, dict(self._seen)

    def sweep(self) -> list[str]:
        """As `Store.sweep`."""
        heads_of(self._objects)  # another database, or another bucket by now, names nothing of this one
        until = time.time() - LONGEST_RUN
        old = old_objects(self._objects, until)
        self.refresh()  # after the listing: what was named meanwhile is known
        heads = dict(self._copies.heads())
        named = set().union(*(head.keys for head in heads.values()))
        unnamed = removed(self._objects, [key for key in old if key not in named], until)
        # ids of events are given once, so that nobody writes these heads again
        ended = [n for n, head in heads.items() if not head.files and "/events/" in n and head.made < until]
        for name in ended:
            self._heads.forget(name)
        return unnamed + ended

    def _look(self) -> None:
        """Learn the heads of now, and put in its place what follows from them."""
        for _ in range(_LOOKS):
            listed, known = self._heads.tokens(), self._copies.tokens()
            other = [name for name, token in listed.items() if known.get(name) != token]
            other += known.keys() - listed.keys()
            as_listed = True
            for start in range(0, len(other), _MANY):
                found = self._heads.read(other[start : start + _MANY])
                self._check_none_is_lost(found, known)
                with self._lock():
                    self._copies.learn(found)
                as_listed &= all((one[0] if one else None) == listed.get(name) for name, one in found.items())
            if as_listed:  # else what was listed too early may have come with what changed since
                break
        late = self._copies.behind()
        same, small = self._damaged_as_before(late), []
        with self._lock():
            for name in late:
                known, copy = self._copies.head_and_copy(name)
                if _stands_in(copy, known) and self._hand.is_edited(name):
                    continue  # mended by hand, and taken in below
                if known is not None and _stands_in(copy, known) and name in same:
                    if not (self.root / name).exists():
                        self._stand_in(name, known[1], copy.token)
                    continue
                if self._hand.is_edited(name, known):
                    self._hand.keep_mine(name)
                if known is None:
                    FOLDER.remove(self.root / name)
                    self._copies.drop([name])
                elif not known[1].files:
                    if self._hand.is_the_last(name, copy, self._contents):
                        self._hand.keep_mine(name, "is given up in the bucket, which had its content no more")
                    FOLDER.remove(self.root / name)
                    self._copies.put([(name, Copy(known[0], False, 0, ""))])
                elif is_large(name):
                    self._stand_in(name, known[1], known[0])
                else:
                    small.append(name)
        self._fetch_small(small)
        self._seen = self._copies.tokens()
        for path in self._hand.found():
            self._take_in(path)

    def _check_none_is_lost(self, found: Mapping[str, tuple[str, Head] | None], known: Mapping[str, str]) -> None:
        if lost := self._copies.lost(found, known, self._heads.is_before):
            raise BucketError(
                f"{self._objects.address}: the heads of {len(lost):,} files that were there are gone or older than "
                f"they were, {lost[0]} among them, as those of an older backup are; nothing was changed. Bring the "
                f"heads back; where that cannot be, save what you edited below {self.root}, and remove that folder"
            )

    def _damaged_as_before(self, names: Sequence[str]) -> set[str]:
        """Names for whose damaged content something stands, of which the bucket says the same as then."""
        damaged = self._copies.damaged()
        pairs = {name: self._copies.head_and_copy(name) for name in names if name in damaged}
        marks = {name: (known, copy.token) for name, (known, copy) in pairs.items() if _stands_in(copy, known)}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            now = dict(zip(marks, pool.map(lambda pair: self._mark(pair[0]), marks.values()), strict=True))
        same = {name for name, (_, mark) in marks.items() if now[name] == mark}
        for name in same:
            self._tell(name, DamagedFile(self.root / name, f"not what was sent, in {self._objects.address}").words)
        return same

    def _mark(self, known: tuple[str, Head]) -> str:
        """The token of what stands for damaged content."""
        return f"{DAMAGED} {known[0]} {self._contents.stated(known[1])}"

    def _tell(self, name: str, words: str) -> None:
        if name not in self._told and "/.damaged/" not in name:
            self._told.add(name)
            log.warning("%s; an empty file stands in its place", words)

    def _replace(self, name: str, head: Head) -> None:
        """Replace a head, under the lock. Raises Conflict."""
        seen = self._seen if self._begun is None else self._begun[1]
        token, last = None, seen.get(name)
        for left in reversed(range(_LOOKS if name in DERIVED else 1)):
            try:
                token = self._heads.swap(name, head, last)
                break
            except Changed:
                if not left:
                    raise Conflict(name) from None
                now = self._heads.read([name])[name]
                last = now[0] if now is not None else None
        assert token is not None
        self._copies.learn({name: (token, head)})
        self._seen[name] = token
        if self._begun is not None:
            self._begun[1][name] = token

    def _fetch_small(self, names: Sequence[str]) -> None:
        """Put files in their places that nobody asks for before opening them; an empty one for one that is damaged."""

        def fetch(name: str) -> None:
            if (known := self._copies.head(name)) is None:
                return None
            mark = ""
            for _ in range(2):  # again after the mark: it may have come back before that
                try:
                    return self._fetch(name)
                except DamagedFile as error:
                    words, mark = error.words, mark or self._mark(known)
            if self._stand_in_for_damaged(name, known, mark):
                self._tell(name, words)

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(fetch, names))

    def _stand_in_for_damaged(self, name: str, known: tuple[str, Head], mark: str) -> bool:
        """Put an empty file in the place of damaged content, unless there is another head, the file, or a person's."""
        with self._lock():
            copy = self._copies.copy(name)
            if self._copies.head(name) != known or (copy is not None and copy.whole and copy.token == known[0]):
                return False
            if self._hand.is_edited(name):
                return False
            if _stands_in(copy, known) and (self.root / name).exists():
                self._copies.put([(name, copy._replace(token=mark))])
            else:
                self._stand_in(name, known[1], mark)
            return True

    def _fetch(self, name: str) -> None:
        """Put the content of a file or folder in its place.

        Raises DamagedFile where the head is still that of content that is not there, or is another; Conflict where it
        is replaced meanwhile.
        """
        for _ in range(_LOOKS):
            known, copy = self._copies.head_and_copy(name)
            if known is None or not known[1].files:
                return
            if copy is not None and copy.whole and copy.token == known[0]:
                return
            limit.must_hold(known[1].size, name, self.root)
            try:
                if self._fetched(name, *known):
                    self._trim(keep=name)
                    return
            except NotAsSent as error:
                now = self._heads.read([name])[name]
                if now is None or now[0] != known[0]:
                    break
                raise DamagedFile(self.root / name, f"{error}, in {self._objects.address}") from None
        raise Conflict(name)

    def _fetched(self, name: str, token: str, head: Head) -> bool:
        """Put the content of a head in its place, unless that is not the head any more when it has come."""
        path = self.root / name
        with told_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(partial_name(path.name))
            try:
                for below, content in head.files.items():
                    self._contents.write(content, partial / below if below else partial)
                if partial.is_file():
                    os.utime(partial, (time.time(), head.made))
                with self._lock():
                    if (now := self._copies.head(name)) is None or now[0] != token:
                        return False
                    if self._hand.is_edited(name, now):
                        self._hand.keep_mine(name)
                    state = state_or_none(partial)
                    FOLDER.commit(partial, path)
                    self._placed(name, head, state, whole=True, token=token)
                    return True
            finally:
                FOLDER.remove(partial)

    def _stand_in(self, name: str, head: Head, token: str | None = None) -> None:
        """Put an empty file, or a folder of its short files, in the place of content that nobody asked for yet."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(partial_name(path.name))
        for below, content in head.files.items():
            file = partial / below if below else partial
            if not below or below == PIXELS:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
            elif "/" not in below:
                self._contents.write(content, file)
        if partial.is_file():
            os.utime(partial, (head.made, head.made))
        state = state_or_none(partial)
        FOLDER.commit(partial, path)
        self._placed(name, head, state, whole=False, token=token)

    def _end(self, name: str) -> None:
        """Let a head that names nothing take the place of a name's head, under the lock."""
        self._replace(name, Head(made=time.time(), by=uuid.uuid4().hex))
        self._copies.put([(name, Copy(self._seen[name], False, 0, ""))])

    def _placed(self, name: str, head: Head, state: str, *, whole: bool, token: str | None = None) -> None:
        """Take down what was put in a name's place; `state` is from before, so that whatever changes it shows."""
        self._copies.put([(name, Copy(self._seen[name] if token is None else token, whole, head.size, state))])

    def _trim(self, keep: str = "") -> None:
        """Let empty files take the place of the copies used longest ago, until the rest has room."""
        large = {name: size for name, size in self._copies.whole().items() if is_large(name)}
        for name in limit.too_much({self.root / name: size for name, size in large.items()}, self.root):
            relative = self._relative(name)
            with self._lock():
                known, copy = self._copies.head_and_copy(relative)
                if relative != keep and known is not None and copy is not None and copy.token == known[0]:
                    self._stand_in(relative, known[1], known[0])

    def _take_in(self, path: Path) -> None:
        """Send what was put there by hand; of what another machine has changed too, theirs stays.

        A file that is written or taken away meanwhile is left for the next look.
        """
        name, state = self._relative(path), state_or_none(path)
        head = self._contents.sent_as_it_is(name, path)
        with self._lock():
            # asked again: another process of this machine may have been writing it
            if head is None or state_or_none(path) != state or (state and self._hand.is_known(name, head, state)):
                return
            try:
                self._replace(name, head)
            except Conflict:
                self._hand.keep_mine(name)
            else:
                self._placed(name, head, state, whole=True)

    def _lock(self) -> AbstractContextManager[None]:
        return held(self.root / ".store.lock")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _below(self, path: Path) -> list[str]:
        """Names of the files that are there at a path, or below it."""
        name = self._relative(path)
        with_files = (n for n in sorted(self._seen) if n == name or n.startswith(f"{name}/"))
        return [n for n in with_files if (known := self._copies.head(n)) is not None and known[1].files]


def _stands_in(copy: Copy | None, known: tuple[str, Head] | None) -> TypeGuard[Copy]:
    """Whether a copy stands for content that was damaged, of the head known."""
    return known is not None and copy is not None and copy.token.startswith(f"{DAMAGED} {known[0]} ")
