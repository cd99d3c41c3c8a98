"""The part of Ray's job server that dagster-ray asks, on 127.0.0.1: it keeps jobs, and runs none."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

EXISTS = (
    "Traceback (most recent call last): RuntimeError: Request failed with status code 400: ValueError: Job with "
    "submission_id {} already exists. Please use a different submission_id.."
)


class RayJobs(dict[str, dict[str, Any]]):
    """Submission id -> job. A test says how those to come are answered, the first one first: by a status, or by
    nothing after the job was taken (0).
    """

    address = ""
    posts = 0
    answers: list[int]

    def __init__(self) -> None:
        super().__init__()
        self.answers = []


@contextmanager
def ray_server() -> Iterator[RayJobs]:
    """Serve; `address` says where."""
    import ray

    jobs = RayJobs()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, jobs.posts = job["submission_id"], jobs.posts + 1
            answer = jobs.answers.pop(0) if jobs.answers else 200
            if answer > 200:
                self._answer("No available agent to submit job, please try again later.", answer)
            elif name in jobs:
                self._answer(EXISTS.format(name), 500)
            else:
                jobs[name] = {"type": "SUBMISSION", "submission_id": name, "status": "PENDING", "entrypoint": "-"}
                if answer:
                    self._answer(json.dumps({"job_id": name, "submission_id": name}), 200)

        def do_GET(self) -> None:
            if self.path == "/api/version":
                version = {"version": "4", "ray_version": ray.__version__, "ray_commit": "-", "session_name": "-"}
                self._answer(json.dumps(version), 200)
            elif (job := jobs.get(self.path.rpartition("/")[2])) is not None:
                self._answer(json.dumps(job), 200)
            else:
                self._answer(f"Job {self.path} does not exist", 404)

        def _answer(self, text: str, code: int) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        jobs.address = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield jobs
        finally:
            server.shutdown()
