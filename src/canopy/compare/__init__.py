"""Runs side by side: their list, the spread over seeds, and whether one is better than another."""
