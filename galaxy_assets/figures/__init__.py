"""The paper's figures, each drawn from tables or arrays and returned, so that a notebook can use them too.

Belongs here: drawing. Does not belong here: computing what is drawn (`science`), or choosing it
(`orchestration.assets`). Figures are plain `matplotlib.figure.Figure` objects that pyplot does not know: nothing has
to be closed, and threads do not meet.
"""
