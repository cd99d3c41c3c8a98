"""A person's SQL in a process of its own, which has limits that the operating system keeps.

Belongs here: that process as its owner sees it: start it, ask it, kill it. Does not belong here: what it does
(`query_child`), what a query may reach (`query`).

The database bounds what it counts, and functions on texts and lists allocate beside it; some do not heed an interrupt.
So the query runs in a child with a limit on its address space, which is killed when its time is over. What goes to and
fro is JSON and Arrow, nothing that is executed when it is read.
"""

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import pyarrow as pa

from galaxy_assets.lake.fetched import fetch_named
from galaxy_assets.lake.query import QueryError
from galaxy_assets.storage.layout import Layout

_PASSED_ON = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")
"""Variables that the child has too; it needs no other, and keys and passwords are among the others."""
_AT_ONCE = 2
_START = 120.0  # seconds that a process is given to start


class Limits(NamedTuple):
    """What one query may take.

    Attributes
    ----------
    seconds : float
        Time until its process is killed.
    memory : int
        Bytes of address space beside what the process has before it is asked. Kept by Linux; elsewhere the database
        alone counts what it holds.
    answer : int
        Bytes of the answer.
    """

    seconds: float
    memory: int
    answer: int


class PersonsQueries:
    """Answers to queries that people write, each from a process with limits.

    One idle process is kept, so that a query need not wait for it to start. At most two queries run at once; others
    wait. To be closed when it is not needed any more.

    Parameters
    ----------
    layout : Layout
        The data folder.
    limits : Limits
    """

    def __init__(self, layout: Layout, limits: Limits):
        self.layout, self.limits = layout, limits
        self._idle: list[_Child] = []
        self._lock, self._places = threading.Lock(), threading.BoundedSemaphore(_AT_ONCE)

    def __enter__(self) -> "PersonsQueries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def warm(self) -> None:
        """Start the process before it is asked."""
        self._put_back(self._take())

    def ask(
        self, text: str, *, before: str = "from ", after: str = "", tables: Mapping[str, pa.Table] | None = None
    ) -> pa.Table:
        """The answer to one query of a person.

        Parameters
        ----------
        text : str
            What the person wrote, or has a part in.
        before, after : str
            SQL of ours around it; the text stands between them in parentheses.
        tables : mapping of str to pyarrow.Table, optional
            Can be named in the query.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        QueryError
            Where the text is no query, takes too long or needs too much.
        FileNotFoundError
            Where nothing was published.
        """
        with self._places:
            fetch_named(self.layout, f"{before}{text}{after}")
            child = self._take()
            try:
                answer = child.ask({"text": text, "before": before, "after": after}, tables or {})
            except BaseException:
                if not child.good:
                    child.kill()
                else:
                    self._put_back(child)
                raise
            self._put_back(child)
            return answer

    def close(self) -> None:
        """End the processes that wait for a query."""
        with self._lock:
            idle, self._idle = self._idle, []
        for child in idle:
            child.kill()

    def _take(self) -> "_Child":
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    return child
        return _Child(self.layout, self.limits)

    def _put_back(self, child: "_Child") -> None:
        with self._lock:
            if not self._idle:
                self._idle.append(child)
                return
        child.kill()


class _Child:
    """One process. `good` tells whether it can be asked again."""

    def __init__(self, layout: Layout, limits: Limits):
        self.limits, self.good = limits, True
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        # what this process imports from, and with -P not the folder that somebody happens to be in
        environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        # both allocators would reserve address space by the gigabyte
        environment |= {"ARROW_DEFAULT_MEMORY_POOL": "system", "MALLOC_ARENA_MAX": "1"}
        command = [sys.executable, "-P", "-m", "galaxy_assets.lake.query_child"]
        self.process = subprocess.Popen(
            [*command, str(layout.root.absolute()), json.dumps(limits)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        # the time of a query begins when its process is there
        try:
            _Until(self.process.stdout, time.monotonic() + _START, 0).frame()
        except (OSError, EOFError) as error:
            self.kill()
            raise QueryError("the process that answers queries did not start; its error is on the terminal") from error

    def ask(self, request: dict[str, Any], tables: Mapping[str, pa.Table]) -> pa.Table:
        self.good = False
        end = time.monotonic() + self.limits.seconds
        try:
            assert self.process.stdin is not None and self.process.stdout is not None
            send(self.process.stdin, json.dumps(request | {"tables": list(tables)}).encode())
            for table in tables.values():
                send(self.process.stdin, as_stream(table))
            answer = _Until(self.process.stdout, end, self.limits.answer)
            told = json.loads(answer.frame())
            if told["kind"] == "answer":
                with pa.ipc.open_stream(pa.PythonFile(answer, mode="r")) as stream:
                    found = stream.read_all()
                self.good = True
                return found
        except TimeoutError as error:
            raise self._too_long() from error
        except (OSError, EOFError, ValueError, pa.ArrowException) as error:
            raise self._ended() from error
        self.good = told["good"]
        raise (FileNotFoundError if told["kind"] == "missing" else QueryError)(told["words"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def _too_long(self) -> QueryError:
        return QueryError(f"no answer within {self.limits.seconds:g} s; ask for less")

    def _ended(self) -> QueryError:
        self.process.kill()
        if self.process.wait() == -signal.SIGALRM:
            return self._too_long()
        return QueryError(f"{too_much_memory(self.limits)}, or the database does not survive it")


def too_much_memory(limits: Limits) -> str:
    """Words for a query that needed more than its memory.

    Parameters
    ----------
    limits : Limits

    Returns
    -------
    str
    """
    return f"the query needs more than {limits.memory / 1e6:.0f} MB of memory; ask for less"


def send(pipe: IO[bytes], content: bytes | pa.Buffer) -> None:
    """Write a frame: the number of bytes that follow, in eight bytes, and those bytes.

    Parameters
    ----------
    pipe : file
    content : bytes or pyarrow.Buffer
    """
    left = memoryview(len(content).to_bytes(8, "little") + bytes(content))
    while left:  # a pipe without a buffer takes what it has room for
        left = left[pipe.write(left) :]


def as_stream(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow stream.

    Parameters
    ----------
    table : pyarrow.Table

    Returns
    -------
    pyarrow.Buffer
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


class _Until:
    """A pipe that is read until a moment of the monotonic clock, and no more than `most` bytes of it."""

    closed = False

    def __init__(self, pipe: Any, end: float, most: int):
        self._pipe, self._end = pipe, end
        # an answer has a schema and paddings beside its values
        self._left = most + 1_000_000
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLIN)

    def frame(self) -> bytes:
        return self.read(int.from_bytes(self.read(8), "little"))

    def read(self, n: int) -> bytes:
        if n > self._left:
            raise ValueError("the answer is larger than its process may make it")
        self._left -= n
        parts: list[bytes] = []
        while n:
            left = self._end - time.monotonic()
            if left <= 0 or not self._poll.poll(left * 1000):
                raise TimeoutError
            if not (part := self._pipe.read(n)):
                raise EOFError if not parts else OSError("an answer broke off")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)
