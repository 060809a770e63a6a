"""Comparing runs: `comparison` puts them side by side; the other files gather what it is made of from the store."""
