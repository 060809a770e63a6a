"""No file of the corpus runs when a model folder is opened, and what is harmless opens without being asked."""

from __future__ import annotations

import io
import json
import pickle
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops_nb.errors import InvalidInput, MlopsError, UnsafeModel
from mlops_nb.models import load_model, save_model
from mlops_nb.models.metadata import read_metadata
from mlops_nb.models.scan import scan_folder, trust
from mlops_nb.models.scan.pickles import load as load_carefully
from tests.models import corpus

pytest.importorskip("picklescan", reason="picklescan is not installed: pickles of others are refused unseen")
numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
linear = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that a command of the corpus would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the file has run"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known as written here."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def folder_of(folder: Path, name: str, content: bytes, flavor: str = "sklearn", **about: Any) -> Path:
    """A model folder whose model is a file of the corpus."""
    flavors = {
        "python_function": {"loader_module": f"mlflow.{flavor}", "model_path": name, "data": name},
        flavor: {"pickled_model": name, "serialization_format": "cloudpickle", "data": name, "model_data": name, **about},
    }
    corpus.write(folder, "MLmodel", yaml.safe_dump({"flavors": flavors}).encode())
    corpus.write(folder, name, content)
    return folder


@pytest.mark.parametrize("kind", corpus.PICKLES)
def test_a_pickle_that_runs_a_command_is_refused_by_name_and_does_not_run(kind: str, tmp_path: Path, canary: Path) -> None:
    content = corpus.PICKLES[kind](f"touch {canary}")
    folder = folder_of(tmp_path / "m", "model.pkl", content)
    with pytest.raises(UnsafeModel, match=r"model\.pkl: .*allow_unsafe=True"):
        load_model(folder)
    # A scanner can be mistaken: the reader itself looks up nothing either.
    with pytest.raises((MlopsError, pickle.UnpicklingError, EOFError, ValueError, AttributeError)):
        held = io.BytesIO(content)
        while True:
            load_carefully(held)


@pytest.mark.parametrize("name", ["model.bin", "weights.dat", "notes.txt", "model"])
def test_a_pickle_is_known_by_its_bytes_or_by_what_loads_it(name: str, tmp_path: Path, canary: Path) -> None:
    folder = folder_of(tmp_path / "m", name, corpus.plain(f"touch {canary}", protocol=0))
    with pytest.raises(UnsafeModel, match=name):
        load_model(folder)


@pytest.mark.parametrize("how", corpus.COMPRESSED)
def test_compression_hides_nothing(how: str, tmp_path: Path, canary: Path) -> None:
    packed = corpus.COMPRESSED[how](corpus.plain(f"touch {canary}"))
    with pytest.raises(UnsafeModel, match=r"model\.joblib: .*posix\.system"):
        load_model(folder_of(tmp_path / "m", "model.joblib", packed))


def test_packed_files_are_looked_into(tmp_path: Path, canary: Path) -> None:
    command = f"touch {canary}"
    files = {
        "torch.pt": corpus.torch_zip(command),
        "twice.zip": corpus.zipped({"inner.zip": corpus.torch_zip(command)}),
        "array.npy": corpus.object_array(command),
        "arrays.npz": corpus.zipped({"a.npy": corpus.object_array(command)}),
        "packed.tar.gz": corpus.tarred({"model.pkl": corpus.plain(command)}),
        "climbs.zip": corpus.zipped({"../../up.txt": b"x"}),
        "climbs.tar.gz": corpus.tarred({"../../up.txt": b"x"}),
        "bomb.zip": corpus.zip_bomb(),
        "other.7z": b"7z\xbc\xaf\x27\x1c" + b"\0" * 64,
        "broken.zip": corpus.torch_zip(command)[:90],
    }
    folder = folder_of(tmp_path / "m", "fine.json", b"{}", flavor="catboost", serialization_format=None)
    for name, content in files.items():
        corpus.write(folder, name, content)
    before = time.monotonic()
    found = scan_folder(folder)
    assert time.monotonic() - before < 20
    assert {finding.file.split(":")[0] for finding in found} == set(files)
    assert any(finding.file == "twice.zip:inner.zip:archive/data.pkl" and "posix.system" in finding.reason for finding in found)


def test_a_pickle_that_grows_without_end_is_not_loaded_by_the_scan(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", "model.pkl", corpus.expanding(60))
    assert scan_folder(folder) == []  # it shares its parts, and takes no room unless somebody copies them


def test_a_large_pickle_is_scanned_in_bounded_time(tmp_path: Path, canary: Path) -> None:
    content = pickle.dumps([b"\x80\x04" * 20_000_000, corpus.Command(f"touch {canary}")])
    before = time.monotonic()
    with pytest.raises(UnsafeModel, match="posix"):
        load_model(folder_of(tmp_path / "m", "model.pkl", content))
    assert time.monotonic() - before < 20


def test_torch_files_of_strangers_run_nothing(tmp_path: Path, canary: Path) -> None:
    folder = folder_of(tmp_path / "m", "data/model.pth", corpus.torch_zip(f"touch {canary}"), flavor="pytorch")
    with pytest.raises(UnsafeModel, match=r"model\.pth:archive/data\.pkl: .*posix\.system"):
        load_model(folder)


def _laughs() -> str:
    """References to references: nine to the power of nine parts."""
    levels = [f"{b}: &{b} [{','.join(['*' + a] * 9)}]" for a, b in zip("abcdefgh", "bcdefghi", strict=True)]
    return "\n".join(["a: &a [x,x,x,x,x,x,x,x,x]", *levels, f"j: [{','.join(['*i'] * 300)}]"])


LAMBDA = {"function": {"class_name": "__lambda__", "config": {"code": "4wA="}}}


@pytest.mark.parametrize(
    "text",
    [
        "flavors: !!python/object/apply:os.system ['touch {canary}']",
        "flavors: !!python/object/new:subprocess.Popen [['touch', '{canary}']]",
        "flavors: {{sklearn: !!python/name:os.system ''}}",
        _laughs(),
        "[" * 5000,
        "just a text",
        "flavors: 3",
        "flavors: {{sklearn: 3}}",
        "flavors: {{sklearn: {{}}}}\nsignature: {{inputs: '{{'}}",
        "\x00",
    ],
    ids=["apply", "new", "name", "laughs", "deep", "text", "number", "flavor", "signature", "zero"],
)
def test_a_hostile_mlmodel_is_refused_and_runs_nothing(text: str, tmp_path: Path, canary: Path) -> None:
    corpus.write(tmp_path / "m", "MLmodel", text.format(canary=canary).encode())
    with pytest.raises(InvalidInput, match="MLmodel cannot be read"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("name", ["../outside.pkl", "/etc/passwd", "a/../../outside.pkl"])
def test_paths_of_mlmodel_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    corpus.write(tmp_path, "outside.pkl", pickle.dumps(1))
    folder = folder_of(tmp_path / "m", "model.pkl", pickle.dumps(1))
    text = (folder / "MLmodel").read_text().replace("pickled_model: model.pkl", f"pickled_model: {name}")
    (folder / "MLmodel").write_text(text)
    with pytest.raises(InvalidInput, match="not in the folder"):
        load_model(folder)


def test_code_links_and_foreign_loaders_are_refused(tmp_path: Path, canary: Path) -> None:
    code = f"import os\nos.system('touch {canary}')\n".encode()
    folder = folder_of(tmp_path / "m", "model.pkl", pickle.dumps(1))
    corpus.write(folder, "code/evil.py", code)
    (folder / "link").symlink_to("/etc/passwd")
    text = (folder / "MLmodel").read_text().replace("loader_module: mlflow.sklearn", "loader_module: evil\n    code: code")
    (folder / "MLmodel").write_text(text)
    with pytest.raises(UnsafeModel) as error:
        load_model(folder)
    told = str(error.value)
    assert "MLmodel: it has the module 'evil' load it" in told and "code/evil.py: it is code" in told and "link: it is a link" in told


@pytest.mark.parametrize(
    "part",
    [
        {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": LAMBDA,
        },
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
        {"module": "builtins", "class_name": "exec", "config": {}},
        {"module": "shutil", "class_name": "rmtree", "config": {}},
    ],
)
def test_keras_files_with_code_are_refused(part: dict[str, Any], tmp_path: Path) -> None:
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": [part]}}
    folder = folder_of(tmp_path / "m", "data/model.keras", corpus.zipped({"config.json": json.dumps(config).encode()}), flavor="keras")
    with pytest.raises(UnsafeModel, match=r"model\.keras: it (has a layer|names)"):
        load_model(folder)


def test_types_that_mlmodel_calls_trusted_are_not(tmp_path: Path, canary: Path) -> None:
    """MLflow trusts whatever types the folder lists: whoever writes the folder writes the list."""
    skops = pytest.importorskip("skops.io", reason="skops is not installed")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    import os

    content = skops.dumps(preprocessing.FunctionTransformer(os.system))
    trusted = [str(name) for name in skops.get_untrusted_types(data=content)]
    folder = folder_of(tmp_path / "m", "model.skops", content, serialization_format="skops", skops_trusted_types=trusted)
    with pytest.raises(UnsafeModel, match=r"model\.skops: it holds .*system"):
        load_model(folder)


def _fitted() -> dict[str, Callable[[], Any]]:
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    from sklearn.svm import SVC

    return {
        "logistic": linear.LogisticRegression,
        "forest": lambda: RandomForestClassifier(n_estimators=3),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=3),
        "histograms": lambda: HistGradientBoostingClassifier(max_iter=3),
        "neighbours": KNeighborsClassifier,
        "process": GaussianProcessClassifier,
        "vectors": SVC,
        "pipeline": lambda: make_pipeline(
            make_column_transformer((StandardScaler(), ["a"]), (OneHotEncoder(), ["b"])), linear.LogisticRegression()
        ),
    }


@pytest.mark.parametrize("name", _fitted())
@pytest.mark.parametrize("kind", ["cloudpickle", "skops"])
def test_estimators_of_strangers_open_without_being_asked(kind: str, name: str, tmp_path: Path) -> None:
    if kind == "skops":
        pytest.importorskip("skops", reason="skops is not installed")
    table = pandas.DataFrame({"a": numpy.linspace(0, 1, 40), "b": [1.0, 2.0] * 20})
    model = _fitted()[name]().fit(table, (table.a > 0.5).astype(int))
    save_model(model, tmp_path / "m", input_example=table, serialization_format=kind)
    for file in (tmp_path / "state").rglob("*"):
        if file.is_file():
            file.unlink()
    loaded = load_model(tmp_path / "m")
    assert not loaded.verdict.is_trusted and (loaded.predict(table) == model.predict(table)).all()


def test_what_was_written_here_opens_and_the_same_with_a_byte_changed_does_not(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    model = FunctionTransformer(lambda x: x * 2)
    save_model(model, tmp_path / "m", serialization_format="cloudpickle", signature=False)
    loaded = load_model(tmp_path / "m")
    assert loaded.verdict.is_known and (loaded.predict(numpy.array([[2.0]])) == 4.0).all()
    with (tmp_path / "m" / "requirements.txt").open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UnsafeModel, match="cloudpickle"):
        load_model(tmp_path / "m")
    assert not trust.allowed_log().exists()
    allowed = load_model(tmp_path / "m", allow_unsafe=True)
    assert allowed.verdict.is_allowed and allowed.verdict.findings and (allowed.predict(numpy.array([[2.0]])) == 4.0).all()
    (entry,) = [json.loads(line) for line in trust.allowed_log().read_text().splitlines()]
    assert entry["findings"] == [str(finding) for finding in allowed.verdict.findings] and entry["content"] and entry["user"]


def test_harmless_files_beside_a_model_are_no_findings(tmp_path: Path) -> None:
    save_model(linear.LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), tmp_path / "m", input_example=numpy.zeros((2, 1)))
    numpy.save(tmp_path / "m" / "numbers.npy", numpy.zeros(9))
    (tmp_path / "m" / "more.zip").write_bytes(corpus.zipped({"a.txt": b"x" * 900, "numbers.bin": b"\x01" * 4000}, zipfile.ZIP_DEFLATED))
    (tmp_path / "m" / "README.md").write_text("# A model")
    (tmp_path / "m" / "tool.py").write_text("print(1)")  # beside the model nothing imports it
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert scan_folder(tmp_path / "m", read_metadata(tmp_path / "m")) == []
