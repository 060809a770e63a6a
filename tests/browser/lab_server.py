"""A real JupyterLab with the extension as it lies in this tree, and a browser to look at it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import requests
from playwright.sync_api import BrowserType, Page

ROOT = Path(__file__).parents[2]
LABEXTENSION = ROOT / "mlops_nb" / "labextension"
TOKEN = "the-token-of-the-browser-tests"
CHROMIUM_ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_START_SECONDS = 60
_STOP_SECONDS = 20


def find_chromium(browser_type: BrowserType) -> str | None:
    """Return the browser to use: `CHROMIUM`, the system's, Playwright's own; None where there is none."""
    own = browser_type.executable_path
    found = (os.environ.get("CHROMIUM"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome")), own)
    return next((path for path in found if path and Path(path).exists()), None)


class LabServer:
    """JupyterLab in a process of its own, on a port that it chose, with settings and home below `home`.

    Args:
        project: The folder it serves; a project of its own.
        home: An empty folder for everything else that it writes.
        with_server_extension: Whether the server half of the extension is enabled.
        prepare: Called with the project before the server starts.
        options: Traits of the server by name; they go before those of the tests.
    """

    def __init__(
        self,
        project: Path,
        home: Path,
        *,
        with_server_extension: bool = True,
        prepare: Callable[[Path], None] | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._options = dict(options or {})
        if not (LABEXTENSION / "package.json").exists():
            raise RuntimeError("The JupyterLab extension is not built: run `jlpm install && jlpm build` in labextension/.")
        self.project = project
        self.home = home
        project.mkdir(parents=True, exist_ok=True)
        (project / "pyproject.toml").touch()
        if prepare is not None:
            prepare(project)
        self._write_settings()
        self._with_server_extension = with_server_extension
        self.log_file = home / "lab.log"
        self.url = self._start("0")

    def _start(self, port: str) -> str:
        options = {
            "ServerApp.root_dir": str(self.project),
            "ServerApp.port": port,
            "ServerApp.jpserver_extensions": repr({"mlops_nb_server": self._with_server_extension}),
            "IdentityProvider.token": TOKEN,
            "LabApp.expose_app_in_browser": "True",
            **self._options,
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", *(f"--{k}={v}" for k, v in options.items())]
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, env=self._environment(), cwd=self.project, stdout=log, stderr=log, start_new_session=True
            )
        try:
            return self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def restart(self) -> None:
        """End the server and start it again where it was."""
        self.stop()
        port = str(urlsplit(self.url).port)
        assert self._start(port) == self.url

    def request(self, method: str, path: str, **kwargs: Any) -> dict[str, Any]:
        """Send a request to our API and return its answer."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = requests.request(method, f"{self.url}mlops/api/v1/{path}", headers=headers, timeout=30, **kwargs)
        response.raise_for_status()
        answer: dict[str, Any] = response.json()
        return answer

    def mlflow(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send a request to MLflow's REST API and return the answer as it is."""
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return requests.request(method, f"{self.url}mlops/api/2.0/mlflow/{path}", headers=headers, timeout=30, **kwargs)

    def create_run(self, name: str, *, params: dict[str, str] | None = None, status: str = "FINISHED", **metrics: float) -> str:
        """Record a run in the default experiment and return its id."""
        now = int(time.time() * 1000)
        run_id: str = self.request("POST", "runs", json={"experiment_id": "0", "name": name, "start_time": now})["run"]["run_id"]
        values = [{"key": key, "value": value, "timestamp": now, "step": 0} for key, value in metrics.items()]
        self.request("POST", f"runs/{run_id}/batch", json={"metrics": values, "params": params or {}})
        self.request("PATCH", f"runs/{run_id}", json={"status": status, "end_time": now + 1500})
        return run_id

    def write_notebook(self, name: str, *cells: str) -> None:
        """Write a notebook with these code cells into the project."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.project / name)

    def stop(self) -> None:
        """End the server and every kernel that it started."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "MLOPS_NB_", "JUPYTER"))}
        path = [str(ROOT), str(ROOT / "server_ext"), *filter(None, [os.environ.get("PYTHONPATH")])]
        folders = {f"JUPYTER_{name.upper()}_DIR": str(self.home / name) for name in ("config", "data", "runtime")}
        # The front end of this tree, not a copy that an installation left in the environment.
        own = {"HOME": str(self.home), "PYTHONPATH": os.pathsep.join(path), "JUPYTER_PREFER_ENV_PATH": "0"}
        return {**kept, **folders, **own}

    def _write_settings(self) -> None:
        extensions = self.home / "data" / "labextensions"
        extensions.mkdir(parents=True)
        (extensions / "mlops-nb").symlink_to(LABEXTENSION)
        settings = self.home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)
        quiet = {"fetchNews": "false", "checkForUpdates": False}
        (settings / "notification.jupyterlab-settings").write_text(json.dumps(quiet))

    def _wait_until_ready(self) -> str:
        info = self.home / "runtime" / f"jpserver-{self.process.pid}.json"
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            # The file names the port that this very process has bound; it listens a moment later.
            if info.exists() and (text := info.read_text()).rstrip().endswith("}") and _listens(port := json.loads(text)["port"]):
                return f"http://127.0.0.1:{port}{json.loads(text)['base_url']}"
            time.sleep(0.05)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log_file.read_text(errors='replace')}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class LabPage:
    """A page that shows JupyterLab, driven as a user would."""

    def __init__(self, page: Page, server: LabServer) -> None:
        self.page = page
        self.server = server
        self.dialogs: list[str] = []
        self.errors: list[str] = []
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.errors.append(error.stack or error.message))
        page.goto(f"{server.url}lab?token={TOKEN}&reset")
        page.wait_for_function("!!window.jupyterapp")
        page.evaluate("void window.jupyterapp.restored.then(() => { window.isRestored = true; })")
        page.wait_for_function("window.isRestored === true")
        self._wait_for_splash()
        # The launcher takes the focus when it is ready, even from a field that is being typed in.
        page.wait_for_function("!!document.activeElement?.closest('.jp-Launcher')")
        self.sidebar = page.locator(".mlops-nb-Sidebar")
        self.run_page = page.locator(".mlops-nb-RunPage:visible")

    def execute(self, command: str, **args: Any) -> None:
        """Run a command of JupyterLab without waiting for its end."""
        self.page.evaluate("([id, args]) => { window.jupyterapp.commands.execute(id, args); }", [command, args])

    def open_sidebar(self, width: int = 280) -> None:
        """Show the panel and give it a width in CSS pixels, the bar with its icon not counted."""
        self.execute("mlops-nb:focus-sidebar")
        self.sidebar.wait_for()
        box = self.sidebar.bounding_box()
        assert box is not None
        edge = box["x"] + box["width"] + 2
        self.page.mouse.move(edge, 500)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + width + 2, 500, steps=4)
        self.page.mouse.up()

    def open_notebook(self, name: str) -> None:
        """Open a notebook and wait until its kernel is ready."""
        self.execute("docmanager:open", path=name)
        self.page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for()
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget?.sessionContext?.isReady"
            " && window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel?.status === 'idle'"
        )

    def run_cell(self) -> None:
        """Run the cell in front and go to the next."""
        self.execute("notebook:run-cell-and-select-next")

    def run_cell_to_its_end(self) -> None:
        """Run the cell in front, go to the next and wait until it has run, with or without an error."""
        self.page.evaluate("""() => {
            window.hasCellEnded = false;
            const end = () => { window.hasCellEnded = true; };
            window.jupyterapp.commands.execute('notebook:run-cell-and-select-next').then(end, end);
        }""")
        self.page.wait_for_function("window.hasCellEnded")

    def _wait_for_splash(self) -> None:
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")

    def row(self, name: str, group: str = "project") -> Any:
        """The row of a run by its name, in a group of the sidebar."""
        return self.sidebar.locator(f"[data-key^='{group}/']").filter(has=self.page.get_by_text(name, exact=True))

    def set_theme(self, theme: str) -> None:
        """Change the theme and wait until it is drawn."""
        self.execute("apputils:change-theme", theme=theme)
        self.page.locator(f"body[data-jp-theme-name='{theme}']").wait_for(state="attached")
        self._wait_for_splash()
        # Style sheets of a theme arrive after the attribute.
        self.page.wait_for_load_state("networkidle")
