"""What a survey of a given size would cost, from what the benchmarks measured; nothing is run.

Belongs here: the measured slopes (`measured.json`, which benchmarks/report.py writes), counting a network's operations,
the plan. Does not belong here: measuring (benchmarks/), printing (`cli.plan`).
"""
