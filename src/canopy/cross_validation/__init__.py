"""Cross-validation: a run for each fold of a split, and what they say together."""
