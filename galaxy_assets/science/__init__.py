"""The methods, as plain functions on arrays and tables. Nothing here knows of Dagster; use it from a notebook."""
