import mlflow

mlflow.set_experiment("exceptions")
try:
    with mlflow.start_run(run_name="broken"):
        mlflow.log_metric("before", 1.0)
        raise ValueError("bad data")
except ValueError:
    pass
assert mlflow.active_run() is None

mlflow.start_run(run_name="killed")
mlflow.log_param("p", "x" * 300)
mlflow.end_run(status="KILLED")

mlflow.start_run(run_name="outer")
try:
    mlflow.start_run(run_name="refused")
except Exception as error:
    mlflow.log_param("refused", "active" in str(error) or "open" in str(error))
mlflow.end_run("FAILED")
mlflow.end_run()

with mlflow.start_run(run_name="deleted") as run:
    mlflow.log_metric("m", 1)
mlflow.delete_run(run.info.run_id)
