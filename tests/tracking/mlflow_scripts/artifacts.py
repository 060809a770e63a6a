import os

import mlflow

os.makedirs("out/deep", exist_ok=True)
with open("out/features.txt", "w") as f:
    f.write("rooms, zipcode, median_price")
with open("out/deep/data.json", "w") as f:
    f.write('{"state": "TX"}')

mlflow.set_experiment("artifacts")
with mlflow.start_run():
    mlflow.log_artifacts("out")
    mlflow.log_artifacts("out", artifact_path="states")
    mlflow.log_artifact("out/features.txt", "single")
    mlflow.log_artifact("out/features.txt")
    mlflow.log_text("text1", "file1.txt")
    mlflow.log_text("<h1>header</h1>", "dir/index.html")
    mlflow.log_dict({"k": "v", "n": [1, 2]}, "data.json")
    mlflow.log_dict({"k": "v", "n": [1, 2]}, "dir/data.yml")
    assert mlflow.get_artifact_uri("dir/data.yml").endswith("/dir/data.yml")
