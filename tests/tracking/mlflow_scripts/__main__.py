"""Runs the scripts of this folder with one of two libraries in one process, and writes what was stored: `LIBRARY FOLDER`."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def main(library: str, folder: Path) -> None:
    os.chdir(folder)
    if library == "mlflow":
        import mlflow

        mlflow.set_tracking_uri(f"sqlite:///{folder}/theirs.db")
    failures = {}
    for script in sorted(HERE.glob("[a-z]*.py")):
        source = script.read_text()
        if library != "mlflow":
            # The only change that a script needs: another name behind `import`. What is imported of a part comes from ours.
            source = re.sub(r"^import mlflow$", f"import {library} as mlflow", source, flags=re.MULTILINE)
            source = re.sub(r"^import mlflow\.\w+\n", "", source, flags=re.MULTILINE).replace("from mlflow.", f"from {library}.")
        try:
            exec(compile(source, script.name, "exec"), {"__name__": "__main__"})
        except Exception:
            failures[script.name] = traceback.format_exc()
            importlib.import_module(library).end_run("FAILED")
    stored = theirs() if library == "mlflow" else ours()
    (folder / f"{library}.json").write_text(json.dumps({"failures": failures, "stored": stored}))


def theirs() -> dict[str, Any]:
    import mlflow
    from mlflow.entities import ViewType

    client = mlflow.MlflowClient()
    found = {}
    for experiment in client.search_experiments():
        runs = {}
        listed = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
        names = {run.info.run_id: run.info.run_name for run in listed}
        for run in listed:
            points = {key: [(p.step, repr(p.value)) for p in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics}
            files: dict[str, bytes] = {}
            pending = [""]
            while pending:
                for artifact in client.list_artifacts(run.info.run_id, pending.pop() or None):
                    if artifact.is_dir:
                        pending.append(artifact.path)
                    else:
                        path = client.download_artifacts(run.info.run_id, artifact.path)
                        files[artifact.path] = Path(path).read_bytes()
            facts = (run.info.status, run.info.lifecycle_stage, run.data.params, run.data.tags)
            models = len(run.outputs.model_outputs) if run.outputs else 0
            add(runs, run.info.run_name, facts, points, files, models, names)
        found[experiment.name] = {"tags": user_tags(experiment.tags, {}), "runs": runs}
    return found


def ours() -> dict[str, Any]:
    from mlops_nb.store.base import RunQuery
    from mlops_nb.tracking import session

    store = session.current.fresh_store()
    found = {}
    for experiment in store.list_experiments().items:
        runs: dict[str, Any] = {}
        listed = store.search_runs(RunQuery(experiment_ids=[experiment.experiment_id], lifecycle_stage=None)).items
        names = {run.run_id: run.name for run in listed}
        for run in listed:
            points = {key: [(p.step, repr(p.value)) for p in store.metric_history(run.run_id, key).items] for key in run.metrics}
            paths = [artifact.path for artifact in store.list_artifacts(run.run_id, recursive=True) if not artifact.is_dir]
            files = {path: b"".join(store.read_artifact(run.run_id, path)) for path in paths if not path.startswith("environment/")}
            facts = (run.status.value, run.lifecycle_stage.value, run.params, run.tags)
            add(runs, run.name, facts, points, files, len(run.outputs), names)
        found[experiment.name] = {"tags": user_tags(experiment.tags, {}), "runs": runs}
    return found


def add(
    runs: dict[str, Any], name: str, facts: tuple[Any, ...], points: Any, files: dict[str, bytes], models: int, names: dict[str, str]
) -> None:
    status, stage, params, tags = facts
    key = name if not re.fullmatch(r"[a-z]+-[a-z]+-\d+", name) else "(made up)"
    assert key not in runs, f"two runs are called {key}"
    runs[key] = {
        "status": str(status),
        "stage": str(stage),
        "params": params,
        "tags": user_tags(tags, names),
        "points": {key: points[key] for key in points if not key.startswith("system/")},
        "files": dict(sorted((plain_path(path), content_of(path, content)) for path, content in files.items())),
        "models": models,
    }


def user_tags(tags: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    kept = {"mlflow.note.content", "mlflow.parentRunId", "mlflow.loggedArtifacts", "mlflow.loggedImages"}
    return {key: names.get(value, value) for key, value in tags.items() if key in kept or not key.startswith(("mlflow.", "mlops."))}


def plain_path(path: str) -> str:
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID", path)
    return re.sub(r"timestamp\+\d+", "timestamp+WHEN", path)


def content_of(path: str, content: bytes) -> Any:
    if path.endswith(".json"):
        return json.loads(content)
    if path.endswith((".png", ".webp")) and not path.startswith("plots/"):
        import io

        from PIL import Image

        image = Image.open(io.BytesIO(content))
        return [image.format, list(image.size), hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()]
    return content[:8].hex() if path.startswith("plots/") else content.decode()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
