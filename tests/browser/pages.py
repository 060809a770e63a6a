"""What the tests of pages share: runs with cells, made without a kernel, and axe-core."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat
from lab_server import ROOT, LabServer
from playwright.sync_api import Page

AXE = ROOT / "labextension" / "node_modules" / "axe-core" / "axe.min.js"


def record_run(
    server: LabServer,
    name: str,
    notebook: str,
    cells: Sequence[dict[str, Any]],
    *,
    metrics: dict[str, tuple[float, int]] | None = None,
    params: dict[str, str] | None = None,
    curve: Sequence[float] = (),
    tags: dict[str, str] | None = None,
) -> str:
    """Record a finished run of a notebook as our client does, and return its id.

    Args:
        cells: Each with `cell_id`, `source` and what else of the ledger matters.
        metrics: By key, the value and the index of the cell that logged it.
        curve: Values of `loss`, logged by the last cell.
    """
    run_id = hashlib.blake2s(f"{name} {time.time_ns()}".encode(), digest_size=16).hexdigest()
    now = int(time.time() * 1000) - 5000
    own = {"mlops.notebook": notebook, **(tags or {})}
    events: list[dict[str, Any]] = [{"t": "run", "ts": now, "experiment": "Default", "name": name, "tags": own}]
    for index, cell in enumerate(cells):
        digest = hashlib.sha256(cell["source"].encode()).hexdigest()
        facts = {"index": index, "execution_count": index + 1, "source_hash": digest, "started": now + index * 100, "duration_ms": 90.0}
        events.append({"t": "c", "ts": now + index * 100, "cell": {**facts, **cell}})
    events += [{"t": "p", "ts": now, "key": key, "value": value} for key, value in (params or {}).items()]
    last = len(cells) - 1
    logged = now + last * 100
    events += [{"t": "m", "ts": logged + 1, "key": "loss", "value": value, "step": n, "cell": last} for n, value in enumerate(curve)]
    for key, (value, cell_index) in (metrics or {}).items():
        events.append({"t": "m", "ts": now + cell_index * 100 + 1, "key": key, "value": value, "step": 0, "cell": cell_index})
    events.append({"t": "end", "ts": now + 2000, "status": "FINISHED"})
    for number, event in enumerate(events, 1):
        event["seq"] = number
    server.request("POST", f"runs/{run_id}/events", json={"source": run_id, "events": events})
    return run_id


def put_file(server: LabServer, run_id: str, path: str, content: bytes) -> None:
    """Keep a file with a run."""
    server.request("PUT", f"runs/{run_id}/artifacts/files/{path}", data=content)


def write_cells(server: LabServer, name: str, cells: dict[str, str]) -> None:
    """Write a notebook whose code cells have these ids and sources."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source, id=key) for key, source in cells.items()])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, Path(server.project) / name)


def serious_violations(page: Page, selector: str) -> list[str]:
    """Return what axe-core finds serious or critical within an element."""
    page.evaluate(AXE.read_text(encoding="utf-8") + "; window.axe = axe; undefined")
    page.evaluate(
        "selector => { window.found = null; window.axe.run(selector).then(result => { window.found = result.violations; }); }", selector
    )
    page.wait_for_function("window.found !== null", timeout=60_000)
    found: list[dict[str, Any]] = page.evaluate("window.found")
    bad = [one for one in found if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {json.dumps([node['html'][:160] for node in one['nodes'][:3]])}" for one in bad]
