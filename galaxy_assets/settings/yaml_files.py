"""YAML that somebody else wrote, read without surprises: no key twice, no bomb of merges or depth, no code.

Belongs here: from text to lists, mappings and values. Does not belong here: what they mean (`files`).
"""

from collections import Counter
from typing import Any

import yaml

from galaxy_assets.settings.limits import MAXIMUM_DEPTH, MAXIMUM_NODES


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, with limits, and without its silence about equal keys.

    A few lines of aliases can stand for any number of values, so each value counts as often as it is referred to.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self._open = self._n = 0
        self._sizes: dict[yaml.Node, tuple[int, int]] = {}  # how many values, and how deep; of what is whole

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark, is_alias = self.peek_event().start_mark, self.check_event(yaml.AliasEvent)
        self._open, self._n = self._open + 1, self._n + 1
        _check(self._n, self._open, mark)
        node: Any = super().compose_node(parent, index)
        self._open -= 1
        if is_alias:
            if node not in self._sizes:
                raise _refused("refers to itself", mark)
            return node
        if not isinstance(node, yaml.CollectionNode):
            self._sizes[node] = 1, 1
            return node
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, one) for one in node.value]
        inside = [self._sizes[one] for pair in pairs for one in pair if one is not None]
        count, depth = 1 + sum(n for n, _ in inside), 1 + max((deep for _, deep in inside), default=0)
        _check(count, depth, mark)
        self._sizes[node] = count, depth
        keys = Counter((key.tag, key.value) for key, _ in pairs if isinstance(key, yaml.ScalarNode))
        for (_, key), times in keys.items():
            if times > 1:
                raise _refused(f"the key {key!r} is there twice", mark)
        return node


def _check(count: int, depth: int, mark: Any) -> None:
    if depth > MAXIMUM_DEPTH:
        raise _refused(f"nested too deeply: more than {MAXIMUM_DEPTH} lists and mappings around a value", mark)
    if count > MAXIMUM_NODES:
        raise _refused(f"more than {MAXIMUM_NODES} values", mark)


def _refused(why: str, mark: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(None, None, why, mark)


def load(text: str) -> Any:
    """What a YAML document holds.

    Parameters
    ----------
    text : str
        One document.

    Returns
    -------
    Any
        Lists, mappings and plain values.

    Raises
    ------
    yaml.YAMLError
        Where it is no YAML, has an unknown tag, a key twice or an alias of itself, or exceeds the limits.
    Exception
        Of the type of a value that is none, such as the date 2026-13-45.

    Examples
    --------
    >>> load("a: [1, x]")
    {'a': [1, 'x']}
    """
    return yaml.load(text, _Loader)
