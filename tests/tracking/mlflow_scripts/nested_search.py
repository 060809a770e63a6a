import itertools

import mlflow

mlflow.set_experiment("hyperparameter search")
with mlflow.start_run(run_name="search") as parent:
    best = float("inf")
    for i, (lr, depth) in enumerate(itertools.product([0.1, 0.2], [2, 3])):
        with mlflow.start_run(run_name=f"trial-{i}", nested=True) as child:
            mlflow.log_params({"lr": lr, "depth": depth})
            for epoch in range(5):
                loss = (lr - 0.2) ** 2 + 1 / (depth + epoch)
                mlflow.log_metrics({"loss": loss, "lr_now": lr * 0.9**epoch}, step=epoch)
            if loss < best:
                best, best_run = loss, child.info.run_name
    assert mlflow.active_run().info.run_id == parent.info.run_id
    mlflow.log_metric("best_loss", best)
    mlflow.set_tag("best", best_run)
