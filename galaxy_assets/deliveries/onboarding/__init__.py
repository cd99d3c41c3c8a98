"""The front door: look at a folder nobody prepared (`inspect`) and propose a survey file for it (`propose`)."""
