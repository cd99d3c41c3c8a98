"""The examples in the docstrings of functions that a notebook calls are run."""

import doctest
import importlib

import pytest

MODULES = {
    "active_learning": 6,
    "anomaly_model": 2,
    "artefacts": 2,
    "byol": 1,
    "clusters": 2,
    "cutouts": 1,
    "cutouts.noise": 1,
    "descriptions": 2,
    "drift": 1,
    "encoders.embedding": 1,
    "encoders.weights": 1,
    "health": 1,
    "labels": 1,
    "mixture": 1,
    "neighbours": 2,
    "pca": 2,
    "projection": 1,
    "results": 1,
    "votes": 3,
    "worksheet": 1,
}
"""Module of the science room -> how many of its functions have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_say_what_happens(name):
    module = importlib.import_module(f"galaxy_assets.science.{name}")
    assert sum(bool(test.examples) for test in doctest.DocTestFinder().find(module)) >= MODULES[name]
    assert doctest.testmod(module).failed == 0
