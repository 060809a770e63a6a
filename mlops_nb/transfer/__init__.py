"""Moving what was recorded: in from other trackers, out to open files and to MLflow."""
