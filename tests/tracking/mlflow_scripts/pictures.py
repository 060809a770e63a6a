import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import numpy as np
import pandas as pd
from PIL import Image

mlflow.set_experiment("pictures")
with mlflow.start_run():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [2, 3])
    mlflow.log_figure(fig, "plots/figure.png")
    image = np.zeros((20, 30, 3), dtype=np.uint8)
    image[5:10] = 200
    mlflow.log_image(image, "image.png")
    mlflow.log_image(Image.new("RGB", (10, 10), "red"), "pil.png")
    mlflow.log_image(np.ones((8, 8)) * 0.5, "grey.png")
    for step in range(2):
        mlflow.log_image(image, key="dogs/small", step=step)
    mlflow.log_table({"inputs": ["What is MLflow?", "What is Databricks?"], "toxicity": [0.0, 0.25]}, "eval.json")
    mlflow.log_table(pd.DataFrame({"inputs": ["more"], "toxicity": [1.0 / 3]}), artifact_file="eval.json")
