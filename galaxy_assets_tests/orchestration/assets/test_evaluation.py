"""The evaluation subset: how a large class is sampled."""

import pyarrow as pa

from galaxy_assets.orchestration.assets.evaluation import balanced, class_sizes
from galaxy_assets.settings.evaluation import Evaluation, EvaluationClass

SPIRALS, RINGS = 400, 7


def subset() -> pa.Table:
    classes = ["spiral"] * SPIRALS + ["ring"] * RINGS
    return pa.table({"galaxy_id": [f"g{i:03d}" for i in range(len(classes))], "evaluation_class": classes})


def test_a_large_class_is_sampled_at_random_and_the_same_each_time():
    table = subset()
    sample, again, other = balanced(table, 50, 0), balanced(table, 50, 0), balanced(table, 50, 1)
    assert sample.equals(again) and not sample.equals(other)
    ids, classes = sample["galaxy_id"].to_pylist(), sample["evaluation_class"].to_pylist()
    assert ids == sorted(ids) and (classes.count("spiral"), classes.count("ring")) == (50, RINGS)
    # of 400 in the order of delivery, 50 at random come from all four hundreds
    assert {int(galaxy[1:]) // 100 for galaxy in ids[:50]} == {0, 1, 2, 3}
    assert balanced(table, None, 0).equals(table) and balanced(table, SPIRALS, 0).equals(table)


def test_sizes_name_every_class_also_those_without_galaxies():
    wanted = Evaluation(classes=tuple(EvaluationClass(name=n, labels=(n,)) for n in ("ring", "spiral", "merger")))
    assert class_sizes(subset(), wanted) == {"ring": RINGS, "spiral": SPIRALS, "merger": 0}
