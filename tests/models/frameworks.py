"""A small model of each framework, some data for it, and how MLflow saves it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pandas
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")


class Case(NamedTuple):
    """A model, data to ask it with, the name of its flavor, and settings for saving it."""

    model: Any
    data: Any
    flavor: str
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}


def table(rows: int = 60) -> tuple[Any, Any]:
    """Three columns of numbers, and classes 0 and 1."""
    numbers = numpy.random.default_rng(7).random((rows, 3))
    X = pandas.DataFrame(numbers, columns=["a", "b", "c"])
    return X, (X.a + X.b > 1).astype(int)


def _needs(module: str) -> Any:
    return pytest.importorskip(module, reason=f"{module} is not installed")


def sklearn_pipeline() -> Case:
    _needs("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    X, y = table()
    return Case(make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y), X, "sklearn", {}, {"serialization_format": "cloudpickle"})


def sklearn_forest() -> Case:
    _needs("sklearn")
    from sklearn.ensemble import RandomForestRegressor

    X, y = table()
    model = RandomForestRegressor(n_estimators=4, random_state=1).fit(X, y)
    return Case(model, X, "sklearn", {"serialization_format": "cloudpickle"}, {"serialization_format": "pickle"})


def sklearn_probabilities() -> Case:
    case = sklearn_pipeline()
    return case._replace(ours={"pyfunc_predict_fn": "predict_proba"}, theirs={"pyfunc_predict_fn": "predict_proba", **case.theirs})


def sklearn_skops() -> Case:
    _needs("skops")
    case = sklearn_pipeline()
    return case._replace(theirs={"serialization_format": "skops"})


def sklearn_array() -> Case:
    _needs("sklearn")
    from sklearn.linear_model import LinearRegression

    X, y = table()
    return Case(LinearRegression().fit(X.to_numpy(), y), X.to_numpy(), "sklearn", {}, {"serialization_format": "cloudpickle"})


def xgboost_classifier() -> Case:
    xgboost = _needs("xgboost")
    X, y = table()
    return Case(xgboost.XGBClassifier(n_estimators=4).fit(X, y), X, "xgboost")


def xgboost_booster() -> Case:
    xgboost = _needs("xgboost")
    X, y = table()
    return Case(xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, y), 4), X, "xgboost")


def lightgbm_classifier() -> Case:
    lightgbm = _needs("lightgbm")
    X, y = table()
    return Case(lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, y), X, "lightgbm")


def lightgbm_booster() -> Case:
    lightgbm = _needs("lightgbm")
    X, y = table()
    return Case(lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, y), 4), X, "lightgbm")


def catboost_regressor() -> Case:
    catboost = _needs("catboost")
    X, y = table()
    return Case(catboost.CatBoostRegressor(iterations=4, verbose=0, allow_writing_files=False).fit(X, y), X, "catboost")


def statsmodels_ols() -> Case:
    _needs("statsmodels")
    import statsmodels.api

    X, y = table()
    return Case(statsmodels.api.OLS(y, X).fit(), X, "statsmodels")


def statsmodels_series() -> Case:
    _needs("statsmodels")
    from statsmodels.tsa.arima.model import ARIMA

    values = numpy.sin(numpy.arange(40) / 3)
    return Case(ARIMA(values, order=(1, 0, 0)).fit(), pandas.DataFrame({"start": [40], "end": [44]}), "statsmodels")


def pytorch_exported() -> Case:
    torch = _needs("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))
    data = table(8)[0].to_numpy().astype("float32")
    return Case(model.eval(), data, "pytorch", {"input_example": data}, {"serialization_format": "pickle"})


def pytorch_pickled() -> Case:
    case = pytorch_exported()
    return case._replace(
        ours={"serialization_format": "pickle", "input_example": case.data},
        theirs={"serialization_format": "pt2", "input_example": case.data},
    )


def keras_sequential() -> Case:
    try:
        keras = _needs("keras")
    except ModuleNotFoundError:
        pytest.skip("the back end of keras is not installed")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(1)])
    return Case(model, table(8)[0].to_numpy().astype("float32"), "keras")


def onnx_graph() -> Case:
    onnx = _needs("onnx")
    _needs("onnxruntime")
    from onnx import helper

    weights = onnx.numpy_helper.from_array(numpy.array([[1.0], [2.0], [3.0]], dtype="float32"), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, 1])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return Case(model, table(8)[0], "onnx")


def spacy_categories() -> Case:
    spacy = _needs("spacy")
    from spacy.training import Example

    model = spacy.blank("en")
    model.add_pipe("textcat").add_label("good")
    model.get_pipe("textcat").add_label("bad")
    examples = [
        Example.from_dict(model.make_doc(text), {"cats": cats})
        for text, cats in (("fine", {"good": 1.0, "bad": 0.0}), ("poor", {"good": 0.0, "bad": 1.0}))
    ]
    model.initialize(lambda: examples)
    return Case(model, pandas.DataFrame({"text": ["fine day", "poor thing"]}), "spacy")


def prophet_forecast() -> Case:
    prophet = _needs("prophet")
    import logging

    logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
    days = pandas.date_range("2024-01-01", periods=60)
    model = prophet.Prophet(yearly_seasonality=False, uncertainty_samples=0).fit(pandas.DataFrame({"ds": days, "y": numpy.arange(60.0)}))
    return Case(model, pandas.DataFrame({"ds": pandas.date_range("2024-03-01", periods=5)}), "prophet")


def _tokens(folder: Path) -> Any:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "fine", "poor", "day", "a"]
    (folder / "vocab.txt").write_text("\n".join(words))
    return BertTokenizerFast(str(folder / "vocab.txt")), len(words)


def _bert(folder: Path, kind: str) -> tuple[Any, Any]:
    transformers = _needs("transformers")
    torch = _needs("torch")
    torch.manual_seed(0)
    tokenizer, size = _tokens(folder)
    config = transformers.BertConfig(
        vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_position_embeddings=32
    )
    return getattr(transformers, kind)(config).eval(), tokenizer


def transformers_classes(folder: Path) -> Case:
    network, tokenizer = _bert(folder, "BertForSequenceClassification")
    import transformers

    model = transformers.pipeline("text-classification", model=network, tokenizer=tokenizer, device="cpu")
    return Case(model, ["fine day", "poor a"], "transformers")


def transformers_mask(folder: Path) -> Case:
    network, tokenizer = _bert(folder, "BertForMaskedLM")
    import transformers

    model = transformers.pipeline("fill-mask", model=network, tokenizer=tokenizer, device="cpu")
    return Case(model, ["a [MASK] day", "fine [MASK]"], "transformers")


def sentence_vectors(folder: Path) -> Case:
    _needs("sentence_transformers")
    from sentence_transformers import SentenceTransformer, models

    network, tokenizer = _bert(folder, "BertModel")
    network.save_pretrained(folder / "bert")
    tokenizer.save_pretrained(folder / "bert")
    words = models.Transformer(str(folder / "bert"))
    model = SentenceTransformer(modules=[words, models.Pooling(16)], device="cpu")
    return Case(model, ["fine day", "poor a"], "sentence_transformers")


CASES: dict[str, Callable[..., Case]] = {
    function.__name__.replace("_", " "): function
    for function in (
        sklearn_pipeline,
        sklearn_forest,
        sklearn_probabilities,
        sklearn_skops,
        sklearn_array,
        xgboost_classifier,
        xgboost_booster,
        lightgbm_classifier,
        lightgbm_booster,
        catboost_regressor,
        statsmodels_ols,
        statsmodels_series,
        pytorch_exported,
        pytorch_pickled,
        keras_sequential,
        onnx_graph,
        spacy_categories,
        prophet_forecast,
        transformers_classes,
        transformers_mask,
        sentence_vectors,
    )
}


def case_of(name: str, folder: Path) -> Case:
    """Return a case; skips where its framework is not installed."""
    make = CASES[name]
    return make(folder) if make.__code__.co_argcount else make()
