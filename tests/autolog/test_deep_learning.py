"""Keras, Lightning, PyTorch and transformers: metrics of steps and epochs, checkpoints, models that MLflow scores."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

import mlops_nb
from mlops_nb.core.run_state import RunStatus
from mlops_nb.models.flavors.form import TAG_FORMAT
from mlops_nb.models.folder import save_model
from tests.autolog.conftest import Records
from tests.conftest import JupyterProcess

torch = pytest.importorskip("torch", reason="torch is not installed (extra autolog)")
numpy = pytest.importorskip("numpy", reason="numpy is not installed")


@pytest.fixture
def arrays(table: Any) -> tuple[Any, Any]:
    X, y = table
    return X.to_numpy(dtype="float32"), y.astype("float32")


# -- Keras


def keras_model() -> Any:
    keras = pytest.importorskip("keras", reason="Keras is not installed (extra autolog)")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input([6]), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy", metrics=["accuracy"])
    return model


def test_keras_logs_each_epoch_and_a_model_in_its_own_format(records: Records, arrays: Any) -> None:
    X, y = arrays
    model = keras_model()
    mlops_nb.autolog()
    callbacks: list[Any] = []
    history = model.fit(X, y, epochs=4, batch_size=50, validation_split=0.25, verbose=0, callbacks=callbacks).history
    run = records.only_run()
    assert callbacks == [] and run.status is RunStatus.FINISHED
    assert (run.params["epochs"], run.params["batch_size"], run.params["optimizer_name"]) == ("4", "50", "adam")
    for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert records.points(run, key) == [(i, pytest.approx(value)) for i, value in enumerate(history[key])]
    assert "dense" in records.text(run, "model_summary.txt").lower()
    kept = records.models(run)["model"]
    answer = records.score(records.download(kept), X[:8])
    assert numpy.allclose(answer["answer"], model.predict(X[:8], verbose=0), atol=1e-6)
    assert answer["example"] == 5 and '"shape": [-1, 6]' in answer["signature"]["inputs"] and kept.tags[TAG_FORMAT] == "keras"


def test_keras_logs_steps_where_asked_and_where_it_stopped(records: Records, arrays: Any) -> None:
    X, y = arrays
    model = keras_model()
    import keras

    mlops_nb.keras.autolog(log_models=False, log_every_n_step=2)
    stop = keras.callbacks.EarlyStopping("loss", patience=1, min_delta=100.0)
    model.fit(X, y, epochs=9, batch_size=50, verbose=0, callbacks=[stop])
    run = records.only_run()
    assert [step for step, _ in records.points(run, "batch_loss")] == [2, 4, 6, 8]
    assert run.metrics["stopped_epoch"].value == stop.stopped_epoch == 1


# -- Lightning


def lightning_parts(arrays: Any, folder: Path) -> tuple[Any, Any, Any]:
    """A module, a loader, and what builds a trainer."""
    pl = pytest.importorskip("lightning.pytorch", reason="Lightning is not installed (extra autolog)")
    X, y = arrays

    class Line(pl.LightningModule):  # type: ignore[misc]
        def __init__(self, width: int = 6) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

        def loss(self, batch: Any) -> Any:
            return torch.nn.functional.mse_loss(self(batch[0])[:, 0], batch[1])

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = self.loss(batch)
            self.log("loss", loss, on_step=True, on_epoch=True)
            self.log("single", loss)
            self.log("mean", loss, on_step=False, on_epoch=True)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", self.loss(batch))

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))

    def trainer(**options: Any) -> Any:
        checkpoints = pl.callbacks.ModelCheckpoint(dirpath=folder, filename="best", monitor="val_loss")
        settings = {
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "accelerator": "cpu",
            "log_every_n_steps": 2,
        }
        return pl.Trainer(max_epochs=3, callbacks=[checkpoints], **{**settings, **options})

    return Line(), torch.utils.data.DataLoader(data, batch_size=50), trainer


def test_lightning_logs_steps_epochs_the_best_checkpoint_and_a_model(records: Records, arrays: Any, tmp_path: Path) -> None:
    module, loader, make_trainer = lightning_parts(arrays, tmp_path / "checkpoints")
    mlops_nb.autolog()
    trainer = make_trainer()
    callbacks = list(trainer.callbacks)
    trainer.fit(module, loader, loader)
    run = records.only_run()
    assert trainer.callbacks == callbacks and module.trainer is trainer and run.status is RunStatus.FINISHED
    assert (run.params["epochs"], run.params["optimizer_name"], run.params["lr"], run.params["width"]) == ("3", "SGD", "0.05", "6")
    for key in ("loss_step", "single"):
        assert [step for step, _ in records.points(run, key)] == [2, 4, 6, 8, 10, 12]
    for key in ("loss", "mean", "val_loss"):
        assert [step for step, _ in records.points(run, key)] == [0, 1, 2]
    assert run.metrics["val_loss"].value == pytest.approx(float(trainer.callback_metrics["val_loss"]))
    assert "checkpoints/best.ckpt" in records.files(run) and run.tags["mlops.checkpoint.best"] == "best.ckpt"
    kept = records.models(run)["model"]
    X = arrays[0][:7]
    answer = records.score(records.download(kept), X)
    with torch.no_grad():
        assert numpy.allclose(answer["answer"], module(torch.tensor(X)).numpy(), atol=1e-6)
    assert kept.tags[TAG_FORMAT] == "pt2" and answer["example"] == 5 and '"float32"' in answer["signature"]["inputs"]


def test_an_exception_in_a_step_of_lightning_fails_the_run(records: Records, arrays: Any, tmp_path: Path) -> None:
    module, loader, make_trainer = lightning_parts(arrays, tmp_path / "checkpoints")
    mlops_nb.pytorch.autolog()

    def broken(batch: Any, batch_idx: int) -> Any:
        raise ValueError("nan in the batch")

    module.training_step = broken
    with pytest.raises(ValueError, match="nan in the batch"):
        make_trainer().fit(module, loader)
    assert records.only_run().reason == "ValueError: nan in the batch"


def test_the_mlflow_logger_of_lightning_logs_to_our_server(
    jupyter: JupyterProcess, arrays: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow", reason="MLflow is not installed")
    loggers = pytest.importorskip("lightning.pytorch.loggers", reason="Lightning is not installed (extra autolog)")
    from tests.conftest import TOKEN

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKEN)
    module, loader, make_trainer = lightning_parts(arrays, tmp_path / "checkpoints")
    logger = loggers.MLFlowLogger("lightning", run_name="by their logger", tracking_uri=jupyter.mount, log_model=False)
    make_trainer(logger=logger).fit(module, loader, loader)
    import mlflow

    run = mlflow.MlflowClient(jupyter.mount).get_run(logger.run_id)
    assert (run.info.status, run.info.run_name, run.data.params["width"]) == ("FINISHED", "by their logger", "6")
    history = mlflow.MlflowClient(jupyter.mount).get_metric_history(logger.run_id, "single")
    assert len(history) == 6 and run.data.metrics["val_loss"] == pytest.approx(history[-1].value, abs=1.0)


# -- PyTorch


def test_a_module_is_kept_as_a_graph_and_where_there_is_none_as_a_pickle(records: Records, arrays: Any) -> None:
    X, _ = arrays
    program = Path(__file__).with_name("modules.py").read_text()
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(program, namespace)
    torch.manual_seed(0)
    smooth, jumpy = torch.nn.Linear(6, 2), namespace["Jumpy"]()
    with mlops_nb.start_run() as run:
        infos = [
            mlops_nb.pytorch.log_model(model, name=name, input_example=X[:3]) for name, model in (("smooth", smooth), ("jumpy", jumpy))
        ]
        plain = mlops_nb.log_model(torch.nn.Linear(6, 1), name="no-example")
    kept = records.models(records.store.get_run(run.run_id))
    assert [kept[info.name].model_id for info in infos] == [info.model_id for info in infos] and plain.signature is None
    assert [kept[name].tags[TAG_FORMAT] for name in ("smooth", "jumpy", "no-example")] == ["pt2", "pickle", "pickle"]
    for name, model in (("smooth", smooth), ("jumpy", jumpy)):
        answer = records.score(records.download(kept[name]), X[:11])
        with torch.no_grad():
            assert numpy.allclose(answer["answer"], model(torch.tensor(X[:11])).numpy(), atol=1e-6)


# -- transformers


def test_a_graph_holds_no_values_of_an_example_that_is_not_to_be_kept(tmp_path: Path) -> None:
    example = numpy.random.default_rng(0).random((3, 6), dtype=numpy.float32)
    for keeps_example in (True, False):
        folder = tmp_path / f"{keeps_example}"
        info = save_model(torch.nn.Linear(6, 2), folder, input_example=example, keeps_example=keeps_example)
        assert info.tags[TAG_FORMAT] == "pt2" and info.signature is not None
        with zipfile.ZipFile(folder / "data" / "model.pt2") as graph:
            contents = [graph.read(name) for name in graph.namelist()]
        assert any(example[0].tobytes() in content for content in contents) is keeps_example
        assert (folder / "input_example.json").exists() is keeps_example


def test_a_trainer_of_transformers_logs_steps_and_a_pipeline(records: Records, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra autolog)")
    tokenizers = pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "good", "bad", "very", "film"])}
    raw = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    raw.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="[PAD]", unk_token="[UNK]")
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "max_position_embeddings": 16}
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(vocab_size=len(words), **size))
    texts = [("very good film", 1), ("bad film", 0)] * 8
    data = [{**tokenizer(text, padding="max_length", max_length=4), "labels": label} for text, label in texts]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path / "out"),
        max_steps=4,
        logging_steps=1,
        per_device_train_batch_size=4,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
    )
    mlops_nb.autolog()
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)
    trainer.train()
    run = records.only_run()
    assert run.params["max_steps"] == "4" and run.params["model_config/hidden_size"] == "8" and run.status is RunStatus.FINISHED
    assert [step for step, _ in records.points(run, "loss")] == [1, 2, 3, 4]
    folder = records.download(records.models(run)["model"])
    assert (folder / "model" / "model.safetensors").is_file()
    score = "import sys, mlflow.pyfunc; print('ANSWER', mlflow.pyfunc.load_model(sys.argv[1]).predict(['very good film']))"
    done = subprocess.run([sys.executable, "-c", score, str(folder)], capture_output=True, text=True, timeout=170, check=False)
    pipeline = transformers.pipeline("text-classification", model=model.eval(), tokenizer=tokenizer, device="cpu")
    assert "ANSWER" in done.stdout, done.stderr[-2000:]
    assert pipeline("very good film")[0]["label"] in done.stdout
