"""A process that can import nothing but some modules, and asks the tiny survey's lake: `test_light` starts it.

python -m galaxy_assets_tests.lake.light_process ROOT FOLDER MODULE...
"""

import contextlib
import csv
import io
import json
import os
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class Only:
    """A finder that finds the standard library, this package and the modules it is given."""

    def __init__(self, finder: Any, modules: list[str]):
        self.finder, self.allowed = finder, {*modules, *sys.stdlib_module_names, "galaxy_assets"}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)  # what is said of installed packages, such as their versions

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        top = name.split(".")[0]
        allowed = top in self.allowed or top.startswith("_sysconfigdata")
        return self.finder.find_spec(name, path, target) if allowed else None


def why(ask: Callable[[], object]) -> str:
    """What is raised, in words."""
    try:
        return f"no error: {ask()}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def documented(galaxy: str, root: str, folder: Path) -> list[str]:
    """Run the snippet of docs/installing.md beside a data folder; the galaxies that it exports."""
    page = Path(__file__).parents[2] / "docs/installing.md"
    (snippet,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (folder / "data").symlink_to(root)
    os.chdir(folder)
    with contextlib.redirect_stdout(io.StringIO()):
        exec(snippet.replace("demo_radio", "tiny").replace('"ID"', repr(galaxy)))
    about = json.loads((folder / "top/about.json").read_text())
    with (folder / "top/ranking.csv").open() as written:
        rows = list(csv.DictReader(written))
    assert about["rows"] == len(rows) == len(list((folder / "top/images").iterdir()))
    return [row["galaxy_id"] for row in rows]


def asked(root: str, folder: Path) -> dict[str, object]:
    """What the lake says."""
    from galaxy_assets.lake import connect
    from galaxy_assets.lake.export import export
    from galaxy_assets.lake.similar import sheet, similar

    with connect(root) as lake:
        best = [name for (name,) in lake.sql("select galaxy_id from tiny.anomaly_ranking order by rank").fetchall()]
        in_sql = lake.execute("select neighbour_id from tiny.similar_to([?])", [best[0]]).fetchall()
    found = similar("tiny", ids=best[:1], root=root)
    written = export("ranking", "tiny", folder / "three", first=3, images=True, root=root)
    now = datetime.now(UTC)
    ran = documented(best[0], root, folder)
    return {
        "SQL and Python agree": [name for (name,) in in_sql] == found["neighbour_id"].to_pylist(),
        "found": found.num_rows,
        "sheet": list(sheet("tiny", found, ids=best[:1], root=root).size),
        "exported": written["galaxy_id"].to_pylist() == best[:3],
        "as documented": ran == best[:20],
        "images": [name for name in written["image"].to_pylist() if not (folder / "three" / name).is_file()],
        "by file": why(lambda: similar("tiny", files=["a.png"], root=root)),
        "sheet of files": why(lambda: sheet("tiny", found, files=["a.png"], root=root)),
        "as it was": why(lambda: export("ranking", "tiny", folder / "was", until=now, root=root)),
        "as VOTable": why(lambda: export("ranking", "tiny", folder / "vo", formats=["votable"], root=root)),
        "torch": why(lambda: __import__("torch")),
    }


if __name__ == "__main__":
    sys.meta_path[:] = [Only(finder, sys.argv[3:]) for finder in sys.meta_path]
    print(json.dumps(asked(sys.argv[1], Path(sys.argv[2]))))
