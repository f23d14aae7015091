"""Callbacks of our own; the others come from Lightning."""
