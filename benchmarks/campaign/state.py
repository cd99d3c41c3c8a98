"""What a campaign found so far, kept case by case in one JSON file, so that it goes on where it was stopped.

Belongs here: the file, and what makes a kept case stale. Does not belong here: what a case is.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from side_by_side import machine

ROOT = Path(__file__).parents[2]


class State:
    """The file of figures: the machine, and section -> its code, and case -> what came of it.

    Parameters
    ----------
    path : JSON file; it need not exist.
    folder : where the campaign works; its name is not kept.
    """

    def __init__(self, path: Path, folder: Path):
        self.path, self.folder = path, folder
        self.kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {"sections": {}}

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """Section -> its code and cases."""
        return self.kept["sections"]

    def run(self, section: str, cases: dict[str, Callable[[], dict[str, Any]]]) -> None:
        """Run the cases of a section that were not run with this code, saying which is at work, and keep each."""
        kept = self.sections.get(section, {})
        if kept.get("code") != code(section):
            kept = self.sections[section] = {"code": code(section), "cases": {}}
        for number, (name, run) in enumerate(cases.items(), 1):
            if name in kept["cases"]:
                continue
            began = time.perf_counter()
            found = run()
            kept["cases"][name] = found | {"took": round(time.perf_counter() - began, 1)}
            print(f"{section} {number} of {len(cases)}: {name}: {summary(found)}", file=sys.stderr, flush=True)
            self.write()

    def write(self) -> None:
        """Write the file."""
        self.kept |= {"machine": machine(), "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        text = json.dumps(self.kept, indent=1, default=str).replace(str(self.folder), "WORLD")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(self.path)


def summary(found: dict[str, Any]) -> str:
    """A case in one line: as it should be, or what is wrong."""
    return " ".join("; ".join(found["wrong"]).split())[:300] if found["wrong"] else "as it should be"


def code(section: str) -> str:
    """First 12 hex digits of a sha256 of the package and of the section's modules."""
    sha = hashlib.sha256()
    own = [p for name in (section, "world", "compare") for p in Path(__file__).parent.glob(f"{name}*.py")]
    for path in sorted([*(ROOT / "galaxy_assets").rglob("*.py"), *own]):
        sha.update(path.read_bytes())
    return sha.hexdigest()[:12]
