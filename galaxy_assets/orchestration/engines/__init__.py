"""How outdated partitions are made: `in_process`, one run after the other in this process."""
