"""How outdated partitions are made: `in_process`, one run after the other here; `launched`, several by a launcher."""
