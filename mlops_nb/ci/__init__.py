"""Notebooks in continuous integration: run headlessly, compared with a baseline, judged by gates."""
