"""The table of planted faults fits the tree, and what plants them tells what became of each. `make mutants` runs it."""

import ast
from pathlib import Path

import pytest

from galaxy_assets_tests.mutants import ROOT, CannotPlant, Fault, faults, verdict, with_fault

FAULTS = faults()


def ids_in(path: Path) -> set[str]:
    """Ids of the tests of a file, without the file and the brackets of their cases."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        members = [(f"{node.name}::", one) for one in node.body] if isinstance(node, ast.ClassDef) else [("", node)]
        found |= {f"{of}{one.name}" for of, one in members if isinstance(one, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.fault)
def test_every_fault_can_be_planted_and_its_test_is_there(fault):
    fault.planted((ROOT / fault.file).read_text(encoding="utf-8"))
    file, test = fault.killed_by.split("::", 1)
    assert test.split("[")[0] in ids_in(ROOT / file)


def test_the_faults_are_many_and_told_apart():
    assert len(FAULTS) >= 62
    assert len({fault.fault for fault in FAULTS}) == len({(f.file, f.before, f.after) for f in FAULTS}) == len(FAULTS)


@pytest.fixture
def tree(tmp_path) -> Path:
    (tmp_path / "value.py").write_text("VALUE = 1\nOTHER = 2\n")
    (tmp_path / "test_value.py").write_text("import value\n\n\ndef test_value():\n    assert value.VALUE == 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("before", "after", "test", "expected"),
    [
        ("VALUE = 1", "VALUE = 3", "test_value", "killed"),
        ("OTHER = 2", "OTHER = 3", "test_value", "survived"),
        ("THIRD = 2", "THIRD = 3", "test_value", "cannot be planted: value.py has 'THIRD = 2' 0 times"),
        (" = ", " == ", "test_value", "cannot be planted: value.py has ' = ' 2 times"),
        ("VALUE = 1", "VALUE = (", "test_value", "cannot be planted: value.py with 'VALUE = (' cannot be read"),
        ("VALUE = 1", "VALUE = 3", "test_nothing", "cannot be planted: pytest ended with 4"),
        ("VALUE = 1", "import nothing", "test_value", "cannot be planted: pytest ended with 4"),
    ],
)
def test_what_became_of_a_fault_is_told_and_nothing_of_it_stays(tree, before, after, test, expected):
    whole, time = (tree / "value.py").read_text(), (tree / "value.py").stat().st_mtime_ns
    found = verdict(Fault("words", "value.py", before, after, f"test_value.py::{test}"), tree)
    assert found == expected if "survived" in expected else found.startswith(expected)
    assert ((tree / "value.py").read_text(), (tree / "value.py").stat().st_mtime_ns) == (whole, time)


def test_a_fault_in_a_file_that_is_not_there_cannot_be_planted(tree):
    fault = Fault("words", "other.py", "1", "2", "test_value.py::test_value")
    with pytest.raises(CannotPlant, match="other.py cannot be read"), with_fault(fault, tree):
        pass
