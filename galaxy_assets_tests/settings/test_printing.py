"""What a stranger's file says reaches no terminal and no log as it is."""

import importlib
import inspect
import logging
import pickle
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import galaxy_assets
from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import PrintableError, logger, printable
from galaxy_assets.settings.regular import NotRegular

SOMETHING = {Path: Path("/data/a.fits"), int: 28, float: 7.5, str: "words with 'quotes'", object: OSError("why")}
EVIL = "a\x1b[2J\x07b\u202ec"


def test_letters_of_any_script_and_emoji_stay():
    for text in ("galaxía", "星系", "می\u200cخواهم", "👩\u200d🚀", "a b"):
        assert printable(text) == text


def test_errors_cannot_steer_a_terminal():
    for error in (SurveyError(f"{EVIL}: no such file\ngive another"), UnreadableImage(EVIL)):
        assert all(line.isprintable() for line in str(error).split("\n"))
    assert UnreadableImage(EVIL).reason == printable(EVIL)


def test_a_log_cannot_steer_a_terminal(caplog):
    log = logger("galaxy_assets.of_this_test")
    assert logger("galaxy_assets.of_this_test") is log and len(log.filters) == 1
    with caplog.at_level(logging.INFO, logger="galaxy_assets"):
        log.info("%s has %d images\nand no more", EVIL, 3)
    assert caplog.messages == [f"{printable(EVIL)} has 3 images\nand no more"]


def own_errors(kind: type[BaseException] = Exception) -> Iterator[type[BaseException]]:
    for sub in kind.__subclasses__():
        if sub.__module__.startswith("galaxy_assets."):
            yield sub
        yield from own_errors(sub)


def test_every_error_is_the_same_after_a_process_of_its_own():
    for module in pkgutil.walk_packages(galaxy_assets.__path__, "galaxy_assets."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    errors = set(own_errors())
    assert {PrintableError, NotRegular, UnreadableImage} <= errors and len(errors) > 30
    for kind in errors:
        takes = inspect.signature(kind.__init__, eval_str=True).parameters.values()
        given = [SOMETHING.get(p.annotation, [EVIL]) for p in takes if p.name != "self" and p.kind < p.VAR_POSITIONAL]
        error = kind(*given or ["words"])
        error.add_note("beside it")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is kind and str(again) == str(error) and again.args == error.args
        assert vars(again) == vars(error), kind
        if isinstance(error, OSError):
            assert (again.errno, again.filename, again.strerror) == (error.errno, error.filename, error.strerror), kind
