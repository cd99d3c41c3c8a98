"""A galaxy's score as a curve and in words."""

import re
from datetime import UTC, datetime

from galaxy_assets.explorer.history_curve import HEIGHT, WIDTH, curve, described
from galaxy_assets.explorer.rankings import Scored


def kept(*scores: tuple[int, float, float | None]) -> list[Scored]:
    return [Scored(datetime(2026, 1, i + 1, tzinfo=UTC), *one) for i, one in enumerate(scores)]


def test_the_curve_has_a_point_a_ranking_and_higher_scores_lie_higher():
    drawn = curve(kept((30, 1.0, 0.5), (4, 4.0, 0.25), (9, 2.5, None)))
    (line,) = re.findall(r'<polyline points="([^"]+)"', drawn)
    points = [tuple(map(float, p.split(","))) for p in line.split()]
    assert [x for x, _ in points] == sorted({x for x, _ in points}) and len(points) == 3
    ys = [y for _, y in points]
    assert ys[1] < ys[2] < ys[0], "down on the screen is a smaller score"
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    # the band is 0.5 about 1.0: its lowest edge is the bottom of the scale, which says 0.50; the top says 4.25
    assert re.findall(r"<text[^>]*>([^<]+)<", drawn) == ["4.25", "0.50"]


def test_the_curve_in_words_has_its_ends_and_extremes():
    words = described(kept((30, 1.0, 0.5), (4, 4.0, 0.25), (9, 2.5, None)))
    assert words == (
        "Score over 3 rankings: 1.00 (rank 30) on 2026-01-01, 2.50 (rank 9) on 2026-01-03; "
        "the least 1.00, the greatest 4.00."
    )
    assert f'aria-label="{words}"' in curve(kept((30, 1.0, 0.5), (4, 4.0, 0.25), (9, 2.5, None)))


def test_one_ranking_is_no_curve_and_equal_scores_divide_by_nothing():
    assert curve(kept((1, 3.0, None))) == "" and curve([]) == ""
    assert "nan" not in curve(kept((1, 3.0, None), (1, 3.0, None)))
    assert described(kept((1, 3.0, None))) == "Score 3.00, rank 1, in the one ranking that was kept, of 2026-01-01."
