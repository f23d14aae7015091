"""How good a model is: scores, plots and the report."""
