"""galaxy-assets: from a folder of galaxy images to discoveries without labels, as Dagster assets."""
