"""The explorer: a browser page over the lake, on which a person looks at galaxies, scores them and sees what moves.

Belongs here: what the page shows and does, and the server it comes from. Does not belong here: any method (`science`),
how labels and tables are kept (`lake`), the graph of assets; runs are asked of Dagster over its HTTP interface.
"""
