"""A bundle behind HTTP: predictions for raw rows, each value checked; no torch."""
