import math

import mlflow

mlflow.set_experiment("training loop")
# Fluent calls without a run start one.
mlflow.log_params({"epochs": 20, "optimizer": "adam", "none": None, "list": [1, 2], "flag": True})
for epoch in range(20):
    mlflow.log_metric("train_loss", math.exp(-epoch / 7), step=epoch)
    mlflow.log_metric("val_loss", math.exp(-epoch / 9) + 0.01, step=epoch, synchronous=False)
    if epoch == 10:
        mlflow.log_metric("spike", float("inf"), step=epoch)
        mlflow.log_metric("hole", float("nan"), step=epoch)
mlflow.log_metrics({"test/acc": 0.93, "test/f1": 0.91})
run = mlflow.active_run()
mlflow.set_tag("mlflow.note.content", "a note")
mlflow.end_run()
assert mlflow.get_run(run.info.run_id).data.params["optimizer"] == "adam"
