import mlflow
import pandas as pd

mlflow.set_experiment("searched")
for lr, acc in [(0.01, 0.7), (0.1, 0.9), (1.0, 0.4)]:
    with mlflow.start_run(run_name=f"lr {lr}"):
        mlflow.log_param("lr", lr)
        mlflow.log_metric("accuracy", acc)
        if lr == 1.0:
            mlflow.set_tag("odd", "yes")

df = mlflow.search_runs(experiment_names=["searched"], filter_string="metrics.accuracy > 0.5", order_by=["metrics.accuracy DESC"])
assert isinstance(df, pd.DataFrame) and len(df) == 2
assert {"run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time", "metrics.accuracy", "params.lr"} <= set(df.columns)
best = df.iloc[0]
experiment = mlflow.get_experiment_by_name("searched")
everything = mlflow.search_runs([experiment.experiment_id])
runs = mlflow.search_runs(experiment_ids=[experiment.experiment_id], output_format="list", order_by=["start_time ASC"])
newest = mlflow.search_runs(order_by=["start_time DESC"], max_results=1)
with mlflow.start_run(run_name="summary"):
    mlflow.log_param("best_lr", best["params.lr"])
    mlflow.log_metric("best", df["metrics.accuracy"].max())
    mlflow.log_param("odd", everything.set_index("params.lr").loc["1.0", "tags.odd"])
    mlflow.log_param("missing", str(everything.set_index("params.lr").loc["0.1", "tags.odd"]))
    mlflow.log_param("first", runs[0].info.run_name)
    mlflow.log_param("values", [run.data.metrics["accuracy"] for run in runs])
    mlflow.log_param("dtype", everything["start_time"].dtype.kind)
    mlflow.log_param("newest", newest.loc[0, "params.lr"])
    mlflow.log_param("best_again", mlflow.get_run(best.run_id).data.params["lr"])
