"""Readers as the platform asks them, ours and other packages': what one raises over a stranger's file is in words.

Belongs here: the one place where whatever a reader raises becomes `UnreadableImage`, which is a row of the ledger, or
`SurveyError`, which holds the delivery. Does not belong here: finding and opening readers (the package itself).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from galaxy_assets.deliveries.images import in_words, unreadable_otherwise
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import PrintableError

_OF_DELIVERIES = ("deliveries", "files", "batches", "catalogue", "labelled", "votes", "tables")


def guarded(reader: Any, where: str) -> Any:
    """Make the methods of a reader raise what `plugins.protocols.Reader` says and nothing else, whatever its code does.

    Parameters
    ----------
    reader : Any
        As a registered class or function made it.
    where : str
        The deliveries, for messages.

    Returns
    -------
    Any
        The same reader, an instance of a class of its own below the one that it had.

    Examples
    --------
    >>> class Mine:
    ...     def image(self, file):
    ...         return {}[file]
    >>> guarded(Mine(), "mine").image("a.png")
    Traceback (most recent call last):
    ...
    galaxy_assets.deliveries.images.UnreadableImage: damaged or truncated: 'a.png'
    """
    methods = {name: _told(getattr(reader, name), where) for name in _OF_DELIVERIES if hasattr(reader, name)}
    methods["image"] = _decoded(reader.image)
    # properties, since a reader may have a method on itself alone
    own, found = type(reader), {name: property(lambda _, method=method: method) for name, method in methods.items()}
    below = type(own.__name__, (own,), {"__slots__": (), "__module__": own.__module__, **found})
    object.__setattr__(reader, "__class__", below)  # a frozen dataclass sets nothing by itself
    return reader


def _decoded(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def image(*args: Any, **kwargs: Any) -> Any:
        with unreadable_otherwise():
            return method(*args, **kwargs)

    return image


def _told(method: Callable[..., Any], where: str) -> Callable[..., Any]:
    @wraps(method)
    def told(*args: Any, **kwargs: Any) -> Any:
        with survey_error_otherwise(where):
            return method(*args, **kwargs)

    return told


@contextmanager
def survey_error_otherwise(where: str) -> Iterator[None]:
    """Make a `SurveyError` of whatever a reader raises over what was delivered.

    Parameters
    ----------
    where : str
        The deliveries, for the message.

    Raises
    ------
    SurveyError
    PrintableError
        Any that is in words already, as it is.
    """
    try:
        yield
    except PrintableError:
        raise
    except Exception as error:
        remedy = "mend or take away what was delivered, or tell the reader's author"
        raise SurveyError(f"{where}: {type(error).__name__}: {in_words(error)}; {remedy}") from error
