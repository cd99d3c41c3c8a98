"""The front door: look at a folder nobody prepared (`inspect`), propose settings (`propose`), say what was found
(`report`), write the file (`survey_file`).

Belongs here: from a folder of images to a survey file. Does not belong here: reading deliveries (`readers`).
"""
