"""The frozen model: one folder that takes raw rows and gives probabilities, without torch."""
