"""What Dagster sees: one module per step of the paper, each a function that takes a Survey and returns its assets."""
