"""Assets that keep files on the way: one run at a time works on a partition."""

import time
import types
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from galaxy_assets.orchestration.alone import training_alone
from galaxy_assets.orchestration.graph import ASSETS
from galaxy_assets.storage.layout import Layout


def test_of_two_trainings_of_the_same_start_weights_one_waits_for_the_other(tmp_path):
    survey = types.SimpleNamespace(name="s")
    context: Any = types.SimpleNamespace(layout=Layout(tmp_path), survey=survey, init="imagenet")
    inside: list[str] = []
    together = []

    def train(_, table: str) -> Any:
        inside.append(table)
        together.append(len(inside))
        time.sleep(0.05)
        inside.remove(table)
        return table

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: training_alone(train)(context, name), "abcd")) == list("abcd")
    assert together == [1] * 4
    assert hasattr(ASSETS["byol_checkpoints"].function, "__wrapped__")
