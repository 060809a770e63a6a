"""Where a run keeps what we note of it, among its artifacts: names that writers and readers share."""

from __future__ import annotations

REQUIREMENTS_FILE = "environment/requirements.txt"
ENVIRONMENT_FILE = "environment/environment.json"
NOTEBOOK_FOLDER = "notebook"
"""The executed notebook, from whoever executed it without a front end."""

CELLS_FOLDER = "cells"
PREDICTIONS_FOLDER = "predictions"
"""Predictions of single rows, one file a set of them, and for each metric what it was computed from."""


def shown_file(cell: int) -> str:
    """Return the file with what a cell showed, as outputs of nbformat."""
    return f"{CELLS_FOLDER}/{cell}/outputs.json"


def figure_file(cell: int, number: int, suffix: str) -> str:
    """Return the file of a figure that a cell showed, by its number from 1."""
    return f"{CELLS_FOLDER}/{cell}/figure-{number}{suffix}"
