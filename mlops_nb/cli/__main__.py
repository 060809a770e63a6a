"""`python -m mlops_nb.cli`."""

from mlops_nb.cli import main

main()
