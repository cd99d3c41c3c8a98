"""A galaxy's score over the rankings that were kept, as a small curve and in words.

Belongs here: drawing and describing it. Does not belong here: reading the rankings back (`rankings`), the dialog
(`object_dialog`).
"""

import html
from collections.abc import Sequence

from galaxy_assets.explorer.rankings import Scored

WIDTH, HEIGHT = 260, 72
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 8, 8, 8  # of the frame around the curve; the scale's numbers stand on the left


def described(kept: Sequence[Scored]) -> str:
    """The curve in words, for who does not see it.

    Parameters
    ----------
    kept : sequence of Scored
        The oldest first, one at least.

    Returns
    -------
    str
    """
    first, last = kept[0], kept[-1]
    if len(kept) == 1:
        return f"Score {first.score:.2f}, rank {first.rank:,}, in the one ranking that was kept, of {_day(first)}."
    scores = [k.score for k in kept]
    return (
        f"Score over {len(kept)} rankings: {first.score:.2f} (rank {first.rank:,}) on {_day(first)}, "
        f"{last.score:.2f} (rank {last.rank:,}) on {_day(last)}; the least {min(scores):.2f}, "
        f"the greatest {max(scores):.2f}."
    )


def curve(kept: Sequence[Scored]) -> str:
    """The scores as an SVG curve, one step to the right a ranking, with a band of one standard deviation.

    Parameters
    ----------
    kept : sequence of Scored
        The oldest first.

    Returns
    -------
    str
        An `svg` element, named by `described`; empty for less than two rankings, which make no curve.
    """
    if len(kept) < 2:
        return ""
    low = min(k.score - (k.std or 0) for k in kept)
    high = max(k.score + (k.std or 0) for k in kept)
    step, span = (WIDTH - _LEFT - _RIGHT) / (len(kept) - 1), (high - low) or 1.0

    def at(i: int, score: float) -> str:
        return f"{_LEFT + i * step:.1f},{_TOP + (high - score) / span * (HEIGHT - _TOP - _BOTTOM):.1f}"

    upper = [at(i, k.score + (k.std or 0)) for i, k in enumerate(kept)]
    lower = [at(i, k.score - (k.std or 0)) for i, k in enumerate(kept)]
    line = [at(i, k.score) for i, k in enumerate(kept)]
    dots = "".join(_dot(point, k) for point, k in zip(line, kept, strict=True))
    return (
        f'<svg class="ga-curve" data-testid="score-curve" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(described(kept))}">'
        f'<text x="{_LEFT - 6}" y="{_TOP + 4}">{high:.2f}</text>'
        f'<text x="{_LEFT - 6}" y="{HEIGHT - _BOTTOM + 4}">{low:.2f}</text>'
        f'<polygon points="{" ".join(upper + lower[::-1])}"/><polyline points="{" ".join(line)}"/>{dots}</svg>'
    )


def _dot(point: str, scored: Scored) -> str:
    x, y = point.split(",")
    words = f"{scored.made:%Y-%m-%d %H:%M}: {scored.score:.2f}, rank {scored.rank:,}"
    return f'<circle cx="{x}" cy="{y}" r="2.5"><title>{words}</title></circle>'


def _day(scored: Scored) -> str:
    return f"{scored.made:%Y-%m-%d}"
