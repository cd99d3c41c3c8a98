"""Which of the labels judge a representation, and which class is sought.

Belongs here: the settings that follow from how many images each label has, and from labels that name mirror images of
one another. Does not belong here: reading labels (`labels`), the other settings (`propose`).
"""

import re
from typing import Any

_RARE = 0.2  # largest share of the labelled images that an anomaly may have
_CLASSES = 5
_LEAST = 10  # images of a class from which an accuracy means anything
# classes that say that nobody knew, or that it is no galaxy: neither judged nor searched for
_NO_KIND = re.compile(
    r"((dont|do not|not) ?(know|sure)|un(known|certain|sure|classified|classifiable)|(star or )?art[ei]facts?|star|"
    r"bad|junk|other|none|n/?a|nan|\?+|-?99+)"
)
# words that name one of two mirror images
_SENSE = re.compile(r"(anti|counter)? ?clock ?wise|\b([ac]?cw|[sz] ?wise|(left|right)( ?(handed|hand|ward|wards))?)\b")


def proposed_classes(labels: dict[str, int]) -> list[tuple[str, Any, str]]:
    """The settings of the classes.

    Parameters
    ----------
    labels : dict of str to int
        Images of each label, the commonest first.

    Returns
    -------
    list of (str, value, str)
        Key as `section.key`, value and reason.
    """
    known = {name: n for name, n in labels.items() if not _NO_KIND.fullmatch(_words(name))}
    left_out = [name for name in labels if name not in known]
    of = _joined(list(known))
    kinds = {name: sum(known[label] for label in own) for name, own in of.items()}
    kinds = dict(sorted(kinds.items(), key=lambda item: -item[1]))
    total = sum(labels.values())
    rarest = min(kinds, key=lambda name: kinds[name], default=None)
    judged = [name for name, n in kinds.items() if n >= max(_LEAST, total / 50)]
    judged = [*judged[: _CLASSES - 1], judged[-1]] if len(judged) > _CLASSES else judged
    settings: list[tuple[str, Any, str]] = []
    if len(judged) > 1:
        least = min(kinds[name] for name in judged)
        reason = "The commonest classes" + (f", without {', '.join(left_out)}" if left_out else "")
        reason += "; they judge the representation and take no part in training. One may join several labels."
        for name in judged:
            if len(of[name]) > 1:
                reason += (
                    f" {name} joins {' and '.join(of[name])}: mirror images of one another, which features that are "
                    "averaged over mirror images cannot tell apart."
                )
        equal = f"As many of each class as the smallest has: chance is 1/{len(judged)}."
        settings += [
            ("evaluation.maximum_per_class", least, equal),
            ("evaluation.classes", [{"name": name, "labels": of[name]} for name in judged], reason),
        ]
    if rarest is not None and len(kinds) > 1 and kinds[rarest] <= _RARE * total:
        reason = (
            f"The rarest class, {kinds[rarest]:,} of {total:,} labelled images: what the simulated expert scores 5. "
            "Name what you look for."
        )
        settings += [("anomaly.name", rarest, ""), ("anomaly.labels", of[rarest], reason)]
    return settings


def _joined(names: list[str]) -> dict[str, list[str]]:
    """The labels of each class: mirror images are one, called by what they share, every other label is its own."""
    alike: dict[str, list[str]] = {}
    for name in names:
        words = _words(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
        if _SENSE.search(words):
            alike.setdefault(" ".join(_SENSE.sub(" ", words).split()), []).append(name)
    of, joined = {}, {label: key for key, own in alike.items() if len(own) > 1 for label in own}
    for name in names:
        if name not in joined:
            of[name] = [name]
            continue
        own = alike[joined[name]]
        called = joined[name].replace(" ", "_") or "_or_".join(own)
        of[called if called not in names else "_or_".join(own)] = own
    return of


def _words(label: str) -> str:
    return re.sub(r"[\s_'’-]+", lambda match: "" if match[0] in "'’" else " ", label.lower()).strip()
