"""Jobs of `%runner run`: a notebook, or a cell, with all that it needs, executed on a runner, and what comes back."""
