"""What starts by itself: which partitions are outdated, and what follows a new delivery.

Belongs here: the rule (`outdated`), conditions, sensors, schedules and the jobs a person starts in the UI. Does not
belong here: assets, and how partitions are made (`orchestration.engines`).
"""
