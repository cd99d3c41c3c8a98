"""Where the data folder is."""

import pytest

from galaxy_assets.settings.printing import PrintableError
from galaxy_assets.settings.root import data_root


def test_the_home_folder_of_nobody_is_refused_in_words():
    with pytest.raises(PrintableError, match="~nosuchperson/x: there is no such user's home folder; write"):
        data_root("~nosuchperson/x")
