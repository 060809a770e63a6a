"""Notebooks as they run: the cell ledger in the kernel, and the papermill engine around it."""
