"""Canopy: a PyTorch Lightning experiment framework for tabular classification."""
