"""The figure of encoders beside each other."""

import pyarrow as pa

from galaxy_assets.figures.comparison import encoders


def test_each_measure_has_a_bar_per_encoder_and_what_was_not_measured_says_so():
    table = pa.table(
        {
            "init": ["imagenet", "classical"],
            "effective_rank": [40.0, 20.0],
            "stability": [0.2, 0.4],
            "alignment": [0.1, 0.2],
            "uniformity": [-2.0, -3.0],
            "accuracy": [0.8, None],
            "cluster_accuracy": pa.nulls(2, pa.float64()),
        }
    )
    panels = encoders(table).axes
    assert [round(bar.get_width(), 3) for bar in panels[0].patches] == [40, 20]
    assert [label.get_text() for label in panels[4].texts] == ["0.8", ""]
    assert not panels[5].patches and "not measured" in panels[5].texts[0].get_text()
    assert panels[0].yaxis_inverted(), "the first encoder stands at the top"
