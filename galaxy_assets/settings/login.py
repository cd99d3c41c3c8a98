"""Who runs this process, as labels and changes name them.

Belongs here: the name alone. Does not belong here: who a visitor of the explorer says they are.
"""

import getpass
import os


def whoami() -> str:
    """The login name of whoever runs this process.

    Returns
    -------
    str
        `user 1000` where the user with that number has no name here, as in many containers.
    """
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
