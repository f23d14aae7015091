"""How good a model is: scores, pictures and the report."""
