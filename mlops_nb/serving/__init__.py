"""Model servers: a worker process loads a model and answers requests, a supervisor keeps workers alive.

The model is loaded in the worker alone. The supervisor lives in the Jupyter server, or in `mlops-nb models serve`.
"""
