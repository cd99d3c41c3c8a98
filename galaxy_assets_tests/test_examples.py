"""The examples in the docstrings of functions that a notebook calls are run."""

import doctest
import importlib

import pytest

MODULES = {
    "deliveries.readers": 1,
    "figures.preview": 1,
    "lake.export": 2,
    "lake.meanings": 2,
    "lake.read_model": 1,
    "lake.similar": 1,
    "plugins": 2,
    "science.active_learning": 5,
    "science.anomaly_model": 2,
    "science.artefact_limits": 2,
    "science.artefact_regions": 1,
    "science.artefacts": 1,
    "science.byol": 1,
    "science.checked_settings": 1,
    "science.cells": 3,
    "science.clusters": 2,
    "science.cutouts": 1,
    "science.cutouts.noise": 1,
    "science.descriptions": 2,
    "science.drift": 1,
    "science.encoders.embedding": 1,
    "science.encoders.weights": 1,
    "science.galaxy_ids": 1,
    "science.health": 1,
    "science.labels": 1,
    "science.mixture": 1,
    "science.neighbours": 2,
    "science.observations": 1,
    "science.outliers": 1,
    "science.pca": 2,
    "science.projection": 1,
    "science.samples": 1,
    "science.shortlist": 1,
    "science.votes": 3,
    "science.worksheet": 1,
    "settings.files": 2,
    "settings.printing": 1,
    "settings.sky_links": 1,
    "settings.tuning": 1,
    "storage.layout": 1,
    "storage.tables": 3,
}
"""Module -> how many of its functions have an example."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_say_what_happens(name):
    module = importlib.import_module(f"galaxy_assets.{name}")
    assert sum(bool(test.examples) for test in doctest.DocTestFinder().find(module)) >= MODULES[name]
    assert doctest.testmod(module).failed == 0
