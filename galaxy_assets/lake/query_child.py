"""The process that a person's SQL runs in: `python -m galaxy_assets.lake.query_child FOLDER LIMITS`.

Belongs here: its limits, and reading queries from its standard input and writing answers to its standard output. Does
not belong here: starting and killing it (`query_process`).
"""

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

from galaxy_assets.lake.query import QueryError, answered, connect_to_read, cursor_of
from galaxy_assets.lake.query_process import Limits, send, too_much_memory
from galaxy_assets.storage.layout import Layout

_ORPHANED = 2.0  # seconds after its time that the process ends itself: its owner would have killed it
_THREADS = 4
_OF_THE_DATABASE = 0.75
"""Share of the memory that the database itself may count; texts and lists are beside it."""


def serve(layout: Layout, limits: Limits, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer queries one after the other until there are no more.

    Parameters
    ----------
    layout : Layout
        The data folder.
    limits : Limits
    requests, answers : file
        Frames of `query_process.send`: a query is JSON and then an Arrow stream for each of its tables; an answer is
        JSON and then, without a frame, an Arrow stream. The first frame of the answers says that the process is there.
    """
    lake, stamp = None, None
    _bound(limits)
    send(answers, b"{}")
    answers.flush()
    while (request := _frame(requests)) is not None:
        query = json.loads(request)
        tables = {name: pa.ipc.open_stream(_frame(requests)).read_all() for name in query["tables"]}
        signal.setitimer(signal.ITIMER_REAL, limits.seconds + _ORPHANED)
        good, kind, words, table = True, "error", "", None
        try:
            if lake is None or stamp != _stamp(layout):
                lake, stamp = _opened(layout, limits), _stamp(layout)
            with cursor_of(lake, layout) as mine:
                for name, given in tables.items():
                    mine.register(name, given)
                table = answered(mine, query["text"], query["before"], query["after"])
            if table.nbytes > limits.answer:
                table, words = None, f"the answer has more than {limits.answer / 1e6:.0f} MB; ask for less"
        except FileNotFoundError as error:
            kind, words = "missing", str(error)
        except QueryError as error:
            words = str(error)
        except (MemoryError, duckdb.OutOfMemoryException):
            good, words = False, too_much_memory(limits)
        except duckdb.Error as error:
            good, words = False, str(error)
        if table is None:
            send(answers, json.dumps({"kind": kind, "words": words, "good": good}).encode())
        else:
            send(answers, json.dumps({"kind": "answer"}).encode())
            with pa.ipc.new_stream(pa.PythonFile(answers, mode="w"), table.schema) as stream:
                stream.write_table(table)
        answers.flush()
        signal.setitimer(signal.ITIMER_REAL, 0)
        if not good:
            return


def _opened(layout: Layout, limits: Limits) -> duckdb.DuckDBPyConnection:
    lake = connect_to_read(layout, f"{int(limits.memory * _OF_THE_DATABASE / 1e6)}MB", threads=_THREADS)
    _bound(limits)
    return lake


def _bound(limits: Limits) -> None:
    """Write no file, leave no image of this memory, and have no more address space than now and what is allowed."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    pages = Path("/proc/self/statm")
    if pages.exists():
        now = int(pages.read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = now + limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _stamp(layout: Layout) -> Any:
    path = layout.read_model
    return path.stat().st_mtime_ns if path.exists() else 0


def _frame(pipe: BinaryIO) -> bytes | None:
    head = pipe.read(8)
    return pipe.read(int.from_bytes(head, "little")) if len(head) == 8 else None


def main() -> None:
    """Serve over standard input and output; what anything else prints goes to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its owner ends it
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    limits = Limits(*json.loads(sys.argv[2]))
    serve(Layout(Path(sys.argv[1])), limits, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
