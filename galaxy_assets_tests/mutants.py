"""Faults that are planted on purpose, and whether the tests see them; what `make mutants` calls.

    python -m galaxy_assets_tests.mutants [ONLY]

Each row of `mutants.yaml` is one fault: a file, text in it, what takes its place, and the test that must then fail. The
faults are planted one by one in a copy of the working tree, never in the tree itself. First the named tests run
without a fault; where one fails or is skipped, nothing is planted. ONLY is part of a file's name, of a fault's words
or of a test's name. Ends with 1 where a fault survived or could not be planted.

Belongs here: planting faults and running the tests named for them. Does not belong here: the faults (the table), and
any other test.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_suffix(".yaml")
_PATIENCE = 600  # seconds for one test: a fault may make a loop endless
_READ: dict[str, Callable[[str], object]] = {
    ".py": ast.parse,
    ".yaml": yaml.safe_load,
    ".toml": tomllib.loads,
}
_PYTEST = ("-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=", "--hypothesis-seed=0")


class CannotPlant(ValueError):
    """A row of the table that does not fit the tree; the message says why."""


@dataclass(frozen=True)
class Fault:
    """A row of the table.

    Attributes
    ----------
    fault : str
        What is wrong with the planted code, in words.
    file : str
        Path in the tree.
    before, after : str
        Text that occurs once in the file, and what takes its place.
    killed_by : str
        Id of the test that must fail; without brackets, any of its cases.
    """

    fault: str
    file: str
    before: str
    after: str
    killed_by: str

    def planted(self, text: str) -> str:
        """The file's text with the fault. Raises CannotPlant."""
        if (found := text.count(self.before)) != 1:
            raise CannotPlant(f"{self.file} has {self.before!r} {found} times, and not once")
        text = text.replace(self.before, self.after)
        try:
            _READ[Path(self.file).suffix](text)
        except (SyntaxError, yaml.YAMLError, tomllib.TOMLDecodeError) as error:
            raise CannotPlant(f"{self.file} with {self.after!r} cannot be read: {error}") from error
        return text

    def concerns(self, only: str) -> bool:
        """Whether a part of a name means this fault."""
        return any(only in text for text in (self.fault, self.file, self.killed_by))


def faults() -> list[Fault]:
    """The rows of the table, in its order."""
    rows = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    names = {"from": "before", "to": "after"}
    return [Fault(**{names.get(name, name): value for name, value in row.items()}) for row in rows]


def copy_tree(to: Path) -> None:
    """The files that git knows or does not ignore, as they are in the working tree."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)


@contextmanager
def with_fault(fault: Fault, tree: Path) -> Iterator[None]:
    """Plant a fault in a copy of the tree for the time of the block. Raises CannotPlant."""
    path = tree / fault.file
    try:
        text, times = path.read_text(encoding="utf-8"), path.stat()
    except OSError as error:
        raise CannotPlant(f"{fault.file} cannot be read: {error}") from error
    path.write_text(fault.planted(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # what was compiled of it holds again


def run_tests(tree: Path, tests: list[str], patience: float | None = None) -> tuple[int | None, str]:
    """Exit status of pytest in the tree, None where it took too long, and the last lines that it printed."""
    # nothing compiled of a planted file is kept
    own = {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "" if patience is None else "1"}
    command = [sys.executable, *_PYTEST, *tests]
    child = subprocess.Popen(
        command, cwd=tree, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return None, ""
    return child.returncode, "\n".join(said.splitlines()[-30:])


def verdict(fault: Fault, tree: Path) -> str:
    """`killed`, `survived` with the reason, or why the fault cannot be planted."""
    try:
        with with_fault(fault, tree):
            status, said = run_tests(tree, [fault.killed_by], _PATIENCE)
    except CannotPlant as error:
        return f"cannot be planted: {error}"
    if status == 1:
        return "killed"
    if status is None:
        return f"survived: no answer in {_PATIENCE} s"
    return "survived" if status == 0 else f"cannot be planted: pytest ended with {status}\n{said}"


def main() -> None:
    """Plant every fault, or those that the command line means, and say what became of each."""
    only = sys.argv[1] if len(sys.argv) > 1 else ""
    wanted = [fault for fault in faults() if fault.concerns(only)]
    if not wanted:
        sys.exit(f"no fault has {only!r} in its words, its file or its test")
    tests = sorted({fault.killed_by for fault in wanted})
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        print(f"{len(wanted)} faults; first their {len(tests)} tests without a fault", flush=True)
        status, said = run_tests(tree, ["-rs", *tests])
        if status or re.search(r"\d skipped", said.splitlines()[-1]):
            sys.exit(f"{said}\n\nthe tests must pass, and none may be skipped, before a fault is planted")
        left = []
        for number, fault in enumerate(wanted, 1):
            began = time.monotonic()
            found = verdict(fault, tree)
            left += [] if found == "killed" else [fault]
            print(f"[{number}/{len(wanted)}] {found} ({time.monotonic() - began:.0f} s): {fault.file}: {fault.fault}")
            sys.stdout.flush()
    print(f"{len(wanted) - len(left)} of {len(wanted)} killed")
    if left:
        sys.exit("not killed:\n" + "\n".join(f"  {f.file}: {f.fault} ({f.killed_by})" for f in left))


if __name__ == "__main__":
    main()
