"""What a stranger's file says reaches no terminal and no log as it is."""

import logging

from galaxy_assets.deliveries.images import UnreadableImage
from galaxy_assets.settings.files import SurveyError
from galaxy_assets.settings.printing import logger, printable

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
