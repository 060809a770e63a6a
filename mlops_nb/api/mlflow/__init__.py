"""MLflow's REST API over the same store: what an unmodified MLflow client needs to track runs."""
