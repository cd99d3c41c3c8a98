"""What arrives: deliveries in a survey's folder, the readers of official layouts, downloads, and label files.

Belongs here: everything that opens a stranger's file. Does not belong here: what a survey is (`settings`), what is done
with the images (`science`), where tables are kept (`storage`).
"""
