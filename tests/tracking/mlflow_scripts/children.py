import mlflow

experiment_id = mlflow.create_experiment("children", tags={"team": "a"})
parent = mlflow.start_run(
    experiment_id=experiment_id,
    run_name="parent",
    tags={"version": "v1", "priority": "P1"},
    description="the *parent*",
)
mlflow.end_run()
for name in ("a", "b"):
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, parent_run_id=parent.info.run_id) as child:
        mlflow.log_metric("score", len(name))
assert mlflow.get_parent_run(child.info.run_id).info.run_id == parent.info.run_id
experiment = mlflow.get_experiment(experiment_id)
assert (experiment.name, experiment.tags["team"], experiment.lifecycle_stage) == ("children", "a", "active")
assert "children" in [e.name for e in mlflow.search_experiments(filter_string="tags.team = 'a'")]
mlflow.set_experiment(experiment_id=experiment_id)
mlflow.set_experiment_tag("done", "yes")
with mlflow.start_run(run_name="tagged"):
    mlflow.set_tags({"keep": 1, "drop": 2})
    mlflow.delete_tag("drop")
    mlflow.log_param("experiment", mlflow.get_experiment(experiment_id).tags["done"])
