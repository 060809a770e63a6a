"""Charts as plain data, and what they are drawn with: Plotly where it is there, SVG everywhere else."""
