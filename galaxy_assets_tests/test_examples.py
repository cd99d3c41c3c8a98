"""The examples in the docstrings of functions that a notebook calls are run."""

import doctest
import importlib

import pytest

MODULES = {
    "active_learning": 5,
    "anomaly_model": 2,
    "artefacts": 2,
    "clusters": 1,
    "drift": 1,
    "health": 1,
    "mixture": 1,
    "neighbours": 2,
    "pca": 2,
    "projection": 1,
    "votes": 2,
}
"""Module of the science room -> how many of its functions have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_say_what_happens(name):
    module = importlib.import_module(f"galaxy_assets.science.{name}")
    assert sum(bool(test.examples) for test in doctest.DocTestFinder().find(module)) >= MODULES[name]
    assert doctest.testmod(module).failed == 0
