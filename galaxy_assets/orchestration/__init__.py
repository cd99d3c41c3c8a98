"""What Dagster sees, and the only room that imports it beside `definitions`.

Belongs here: how an asset is declared, the assets by step of the paper, the I/O manager, what runs when, and the
engines that run it. Does not belong here: any method (`science`), any file format (`deliveries`), any path
(`storage`).
"""
