"""What a person may set: a survey, its source, cutouts, recipe and all other choices that change a result.

Belongs here: the models, the shipped survey files, and reading a survey file. Does not belong here: anything that
computes, or reads anything but a survey file. This room imports `plugins` alone.
"""
