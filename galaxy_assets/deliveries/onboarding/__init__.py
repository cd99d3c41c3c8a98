"""From a folder of images that nobody prepared to a survey file.

`inspect` measures the images, `labels` matches a table with them, `propose` chooses settings, `report` says what was
found, `survey_file` writes the file.

Belongs here: what `galaxy-assets survey new` does. Does not belong here: reading deliveries (`readers`).
"""
