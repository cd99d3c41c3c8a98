"""What a process beside the server answers, and what it says when it cannot."""

import asyncio
import os

import pytest

from galaxy_assets.explorer.neighbours import Unanswered, apart
from galaxy_assets.settings.regular import NotRegular, regular


def test_an_error_arrives_as_it_was_raised_and_a_process_that_ended_is_told(tmp_path):
    with pytest.raises(NotRegular, match="a folder"):
        asyncio.run(apart(regular, tmp_path))
    with pytest.raises(Unanswered, match="ended before it did.*try again"):
        asyncio.run(apart(os._exit, 3))
    assert issubclass(Unanswered, ValueError), "what the panels tell of"
