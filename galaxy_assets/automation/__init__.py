"""What runs when: the main job, and what follows a new delivery by itself.

Belongs here: which partitions are outdated (`outdated`), the main job (`main_job`), conditions, sensors, schedules and
the jobs a person starts in the UI. Does not belong here: assets, resources.
"""
