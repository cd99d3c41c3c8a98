"""What a survey of a given size would cost, and how long its first run takes, from what the benchmarks measured.

Belongs here: the measured slopes (`measured.json`, which benchmarks/report.py writes, and `first_run.json`), counting a
network's operations, the plan. Nothing is run. Does not belong here: measuring (benchmarks/), printing (`cli.plan`).
"""
