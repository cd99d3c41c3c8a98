"""Pixels of delivered image files, one module per family of formats; `deliveries.images` finds the one for a file.

Belongs here: what a format's header says of an image's size, and its pixels. Does not belong here: the limits and the
errors (`deliveries.images`), finding files, and what is done with pixels (`science`).
"""
