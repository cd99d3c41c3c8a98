"""What a survey is: one YAML each, its model, and the readers of official layouts."""
