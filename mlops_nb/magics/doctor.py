"""What is installed and whether the pieces see each other: the answer of `%mlops doctor`."""

from __future__ import annotations

import json
import platform
from pathlib import Path

from jupyter_core.paths import jupyter_config_path, jupyter_path

import mlops_nb
from mlops_nb.errors import MlopsError
from mlops_nb.tracking import servers
from mlops_nb.tracking.target import connect, resolve


def report() -> str:
    """Return one line a check, with ✓ or ✗ and what to do."""
    target = resolve()
    lines = [
        f"mlops_nb {mlops_nb.__version__} · Python {platform.python_version()}",
        f"✓ project {target.project.name} at {target.project.root}",
    ]
    lines.append(_labextension())
    lines.append(_server_extension())
    server = servers.having_open(target.store_uri)
    lines.append(
        f"✓ tracking server at {server.url} (pid {server.pid})"
        if server
        else "· no Jupyter server has this store open; it is used directly"
    )
    try:
        store = connect(target, create=False)
        if store is None:
            lines.append(f"· no runs yet; the store will be {target.store_uri}")
        else:
            status = store.status()
            lines.append(f"✓ store {target.store_uri}: {status.run_count} runs in {status.experiment_count} experiments")
            store.close()
    except MlopsError as error:
        lines.append(f"✗ store: {error}")
    waiting = len(list(target.journal_dir.glob("*.jsonl"))) if target.journal_dir.exists() else 0
    lines.append(f"✓ journals in {target.journal_dir}: {waiting} open or waiting")
    return "\n".join(lines)


def _labextension() -> str:
    for folder in jupyter_path("labextensions"):
        package = Path(folder) / "mlops-nb" / "package.json"
        if package.exists():
            version = json.loads(package.read_text(encoding="utf-8")).get("version")
            if version == mlops_nb.__version__:
                return f"✓ sidebar {version} in {package.parent}"
            return f"✗ the sidebar is {version}, the package {mlops_nb.__version__}. Re-install: pip install --force-reinstall mlops-nb"
    return "✗ the sidebar is not installed. Re-install: pip install --force-reinstall mlops-nb"


def _server_extension() -> str:
    for folder in jupyter_config_path():
        if (Path(folder) / "jupyter_server_config.d" / "mlops_nb_server.json").exists():
            return f"✓ server extension enabled in {folder}"
    return "✗ the server extension is not enabled. Run: jupyter server extension enable mlops_nb_server"
