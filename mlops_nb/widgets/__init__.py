"""Figures and live views of runs: what `mlops_nb.plot`, `mlops_nb.run_table` and `mlops_nb.explore` show.

Importing this loads nothing heavy: plotly, ipywidgets and NumPy come with the first thing that needs them.
"""
