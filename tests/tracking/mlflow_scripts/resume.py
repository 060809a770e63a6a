import mlflow

mlflow.set_experiment("resumed")
with mlflow.start_run(run_name="long") as run:
    run_id = run.info.run_id
    mlflow.log_param("p", 1)
    mlflow.log_metric("m", 0.25, step=0)
assert mlflow.active_run() is None
assert mlflow.last_active_run().info.run_id == run_id

with mlflow.start_run(run_id=run_id) as run:
    mlflow.log_metric("m", 0.5, step=1)
    mlflow.log_metric("m", 0.75, 2)
    mlflow.set_tag("stage", "two")
finished = mlflow.get_run(run_id)
with mlflow.start_run(run_name="report"):
    mlflow.log_param("status", finished.info.status)
    mlflow.log_param("seen", finished.data.metrics)
    mlflow.log_param("lifecycle", finished.info.lifecycle_stage)
mlflow.log_metric("late", 7.0, step=3, run_id=run_id)
mlflow.flush_async_logging()
