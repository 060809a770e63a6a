"""Classes and functions of a notebook's cells are kept with the code that they need, and load where the notebook is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from mlops_nb.errors import InvalidInput, UnsafeModel
from mlops_nb.models import load_model, save_model

numpy = pytest.importorskip("numpy", reason="numpy is not installed")
pandas = pytest.importorskip("pandas", reason="pandas is not installed")
pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed: nothing to compare with")

pytestmark = pytest.mark.filterwarnings("ignore")

# A process that has neither the notebook nor mlops_nb's state: it loads with MLflow, and with us as a stranger.
ELSEWHERE = """
import json, sys, traceback, warnings
warnings.simplefilter("ignore")
import pandas
import mlflow.pyfunc
from mlops_nb.models import load_model
plain = lambda answer: answer.tolist() if hasattr(answer, "tolist") else list(answer)
for line in sys.stdin:
    folder, data, params = json.loads(line)
    try:
        theirs = mlflow.pyfunc.load_model(folder).predict(pandas.DataFrame(data), params=params)
        ours = load_model(folder, allow_unsafe=True).predict(pandas.DataFrame(data), params)
        told = [plain(theirs), plain(ours)]
    except Exception:
        told = traceback.format_exc()
    print("ANSWER" + json.dumps(told), flush=True)
"""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("elsewhere")
    environment = {**os.environ, "XDG_STATE_HOME": str(folder)}
    started = subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    yield started
    assert started.stdin is not None and started.stdout is not None
    started.stdin.close()
    started.stdout.close()
    started.wait(60)


@pytest.fixture
def elsewhere(process: Any) -> Any:
    """Asks for what MLflow and we answer in another process; the two are the same."""

    def ask(folder: Path, data: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        process.stdin.write(json.dumps([str(folder), data, params]) + "\n")
        process.stdin.flush()
        line = next(line for line in process.stdout if line.startswith("ANSWER"))
        told = json.loads(line.removeprefix("ANSWER"))
        assert not isinstance(told, str), told
        assert told[0] == told[1]
        return told[1]

    return ask


@pytest.fixture
def cells() -> Iterator[Any]:
    """Runs cells as a notebook does: what they define is of `__main__`."""
    shell = InteractiveShell.instance()
    main = sys.modules["__main__"]
    sys.modules["__main__"] = shell.user_module
    before = set(shell.user_ns)

    def run(*sources: str) -> dict[str, Any]:
        for source in sources:
            with capture_output():
                result = shell.run_cell(source, store_history=True)
            assert result.success, result.error_in_exec or result.error_before_exec
        return shell.user_ns  # type: ignore[no-any-return]

    yield run
    for name in set(shell.user_ns) - before:
        del shell.user_ns[name]
    sys.modules["__main__"] = main


CELLS = [
    "import math\nimport numpy as np\nfrom collections import Counter\nimport os.path",
    "FACTOR = 3\nTABLE = np.arange(4.0)\nunused = open",
    "def scaled(x):\n    more = math.floor(1.5) + len(Counter('ab')) + len(os.path.sep)\n    return x * FACTOR + more\n",
    "class Base:\n    offset = FACTOR\n\n    def shift(self, x):\n        return x + self.offset\n",
    "class Model(Base):\n"
    "    def __init__(self, weight):\n        self.weight = weight\n        self.names = ['a']\n        self.array = np.ones(2)\n\n"
    "    def predict(self, model_input, params=None):\n"
    "        times = (params or {}).get('times', 1)\n"
    "        rows = self.shift(scaled(model_input['x'].to_numpy())) * self.weight * times\n"
    "        return [float(v) for v in rows + TABLE.sum() + self.array.sum()]\n",
]


def test_a_class_of_cells_takes_along_what_it_needs_and_nothing_else(cells: Any, elsewhere: Any, tmp_path: Path) -> None:
    namespace = cells(*CELLS, "model = Model(2.0)")
    data = pandas.DataFrame({"x": [1.0, 2.0]})
    signature = mlflow.models.infer_signature(data, [1.0], params={"times": 2})
    save_model(namespace["model"], tmp_path / "m", signature=signature)
    (code,) = (tmp_path / "m" / "code").iterdir()
    text = code.read_text()
    assert "class Base:" in text and "FACTOR = 3" in text and "import numpy as np" in text and "from collections import Counter" in text
    assert "unused" not in text and "TABLE =" not in text  # an array is no source: it is in the pickle
    expected = namespace["model"].predict(data, {"times": 2})
    assert load_model(tmp_path / "m").predict(data) == expected
    assert elsewhere(tmp_path / "m", {"x": [1.0, 2.0]}) == expected
    assert elsewhere(tmp_path / "m", {"x": [1.0]}, {"times": 5}) == namespace["model"].predict(data[:1], {"times": 5})


def test_a_function_of_a_cell_is_a_model_without_a_pickle(cells: Any, elsewhere: Any, tmp_path: Path) -> None:
    namespace = cells("RATE = 1.5", "def double(model_input):\n    return (model_input['x'] * 2 * RATE).to_numpy()")
    save_model(namespace["double"], tmp_path / "m", input_example=pandas.DataFrame({"x": [1.0, 2.0]}))
    assert not list((tmp_path / "m").rglob("*.pkl"))
    assert elsewhere(tmp_path / "m", {"x": [1.0, 4.0]}) == [3.0, 12.0]


def test_the_context_has_the_artifacts_and_the_settings(cells: Any, elsewhere: Any, tmp_path: Path) -> None:
    (tmp_path / "weights.json").write_text("[10, 20]")
    namespace = cells(
        "import json",
        "class Reader:\n"
        "    def load_context(self, context):\n"
        "        with open(context.artifacts['weights']) as file:\n            self.weights = json.load(file)\n"
        "        self.bias = context.model_config['bias']\n"
        "    def predict(self, context, model_input):\n"
        "        assert context.artifacts['weights']\n"
        "        return [self.weights[int(i)] + self.bias for i in model_input['i']]\n",
    )
    options = {"artifacts": {"weights": tmp_path / "weights.json"}, "model_config": {"bias": 1}}
    save_model(namespace["Reader"](), tmp_path / "m", **options)
    (tmp_path / "weights.json").unlink()
    assert elsewhere(tmp_path / "m", {"i": [1, 0]}) == [21, 11]


def test_a_module_beside_the_notebook_goes_along(cells: Any, elsewhere: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "my_features.py").write_text("def twice(x):\n    return x * 2\n")
    monkeypatch.syspath_prepend(str(tmp_path / "own"))
    namespace = cells(
        "import my_features",
        "class Uses:\n    def predict(self, model_input):\n        return my_features.twice(model_input['x']).tolist()",
    )
    save_model(namespace["Uses"](), tmp_path / "m")
    assert (tmp_path / "m" / "code" / "my_features.py").exists()
    (tmp_path / "own" / "my_features.py").unlink()
    assert elsewhere(tmp_path / "m", {"x": [4]}) == [8]
    sys.modules.pop("my_features", None)


def test_what_cannot_be_packed_says_why(cells: Any, tmp_path: Path) -> None:
    namespace = cells(
        "import threading",
        "class Locked:\n    def __init__(self):\n        self.lock = threading.Lock()\n    def predict(self, x):\n        return x",
    )
    with pytest.raises(InvalidInput, match=r"state of the model cannot be kept.*'lock'.*load_context"):
        save_model(namespace["Locked"](), tmp_path / "a")
    namespace = cells("def later(model_input):\n    return missing_name + 1")
    with pytest.raises(InvalidInput, match="uses 'missing_name', which is not defined"):
        save_model(namespace["later"], tmp_path / "b")
    namespace = cells("nameless = lambda model_input: model_input")
    with pytest.raises(InvalidInput, match="use def"):
        save_model(namespace["nameless"], tmp_path / "c")
    namespace = cells("def fine(x):\n    return x")
    with pytest.raises(InvalidInput, match="artifact 'w' is not at"):
        save_model(namespace["fine"], tmp_path / "d", artifacts={"w": tmp_path / "nowhere"})


class Doubles(mlflow.pyfunc.PythonModel):  # type: ignore[misc,name-defined]
    """A custom model of MLflow's own kind."""

    def load_context(self, context: Any) -> None:
        self.bias = float(Path(context.artifacts["bias"]).read_text())

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input["x"] * 2 + self.bias + (params or {}).get("more", 0)


def test_custom_models_of_mlflow_load_here_when_somebody_says_yes(tmp_path: Path) -> None:
    (tmp_path / "bias.txt").write_text("0.5")
    (tmp_path / "helper.py").write_text("VALUE = 1\n")
    data = pandas.DataFrame({"x": [1.0, 2.0]})
    signature = mlflow.models.infer_signature(data, [1.0], params={"more": 1})
    mlflow.pyfunc.save_model(
        str(tmp_path / "m"), python_model=Doubles(), artifacts={"bias": str(tmp_path / "bias.txt")}, signature=signature,
        code_paths=[str(tmp_path / "helper.py")], pip_requirements=[],
    )  # fmt: skip
    with pytest.raises(UnsafeModel, match=r"code/helper\.py: it is code.*python_model\.pkl"):
        load_model(tmp_path / "m")
    ours, theirs = load_model(tmp_path / "m", allow_unsafe=True), mlflow.pyfunc.load_model(str(tmp_path / "m"))
    for params in (None, {"more": 3}):
        assert ours.predict(data, params).tolist() == theirs.predict(data, params=params).tolist()


def test_models_from_code_and_functions_of_mlflow_load_here(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import mlflow\nclass M(mlflow.pyfunc.PythonModel):\n"
        "    def predict(self, context, model_input):\n        return model_input['x'] + 1\n"
        "mlflow.models.set_model(M())\n"
    )
    mlflow.pyfunc.save_model(str(tmp_path / "code"), python_model=str(tmp_path / "model.py"), pip_requirements=[])
    with pytest.raises(UnsafeModel, match=r"made by running model\.py"):
        load_model(tmp_path / "code")
    data = pandas.DataFrame({"x": [1.0, 2.0]})
    assert load_model(tmp_path / "code", allow_unsafe=True).predict(data).tolist() == [2.0, 3.0]
    mlflow.pyfunc.save_model(str(tmp_path / "f"), python_model=lambda model_input: model_input["x"] * 3, pip_requirements=[])
    assert load_model(tmp_path / "f", allow_unsafe=True).predict(data).tolist() == [3.0, 6.0]
