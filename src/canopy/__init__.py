"""Canopy: a PyTorch Lightning experiment framework for tabular classification."""

__version__ = "0.1.0"
