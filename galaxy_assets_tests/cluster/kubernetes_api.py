"""The part of a Kubernetes API server that dagster-k8s asks, on 127.0.0.1: it keeps jobs, and runs none.

Whether a job is valid is said by the models of the `kubernetes` client, which know every field and what it must hold.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_JOBS = re.compile(r"/apis/batch/v1/namespaces/([^/?]+)/jobs(?:/([^/?]+))?(/status)?")


class Jobs(dict[str, dict[str, Any]]):
    """Name -> job, as they were posted, with a status that a test sets."""

    namespace = ""
    down = False
    away = False
    cut_off = 0
    deleted: list[str]

    def __init__(self) -> None:
        super().__init__()
        self.deleted = []


@contextmanager
def api_server(kubeconfig: Path) -> Iterator[Jobs]:
    """Serve, and write how a client gets there."""
    jobs = Jobs()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            if jobs.away:
                jobs.cut_off += 1
                self.close_connection = True
                return
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            jobs.namespace = _JOBS.match(self.path)[1]
            jobs[job["metadata"]["name"]] = job | {"status": {"active": 1}}
            self._answer(job, 201)

        def do_GET(self) -> None:
            found = _JOBS.match(self.path)
            if jobs.down:
                self._answer({"kind": "Status", "code": 403}, 403)
            elif found and found[2]:
                job = jobs.get(found[2])
                self._answer(job or {"kind": "Status", "code": 404}, 200 if job else 404)
            else:  # pods, events
                self._answer({"kind": "List", "items": []}, 200)

        def do_DELETE(self) -> None:
            name = _JOBS.match(self.path)[2]
            jobs.deleted.append(name)
            self._answer({"kind": "Status", "status": "Success"}, 200)

        def _answer(self, body: dict[str, Any], code: int) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        where = {"server": f"http://127.0.0.1:{server.server_address[1]}"}
        kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "here", "cluster": where}],
                    "users": [{"name": "nobody", "user": {}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}],
                    "current-context": "here",
                }
            )
        )
        try:
            yield jobs
        finally:
            server.shutdown()
