"""Every byte that is kept: files, paths, tables, provenance, pixels, checkpoints and label events.

Belongs here: how something is written whole or not at all, where it lies, and what identifies its content. Does not
belong here: what is computed (`science`), what a stranger delivers (`deliveries`), Dagster (`orchestration`).
"""
