"""Exploration of a table: findings as plain data, and the page that shows them."""
