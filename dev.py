#!/usr/bin/env python3
"""The project's one command: sets up `.venv` and runs what you ask for. Needs only python3 (3.11+) with venv, and git.

    python3 dev.py demo       train twice, compare, write a report; then says how to open it
    python3 dev.py test       the fast, contract, server and browser tests
    python3 dev.py test-all   the same and the slow ones
    python3 dev.py lint       every check of style and types
    python3 dev.py lab        JupyterLab on this project

Further arguments of `test` and `lab` are handed on. All of it may be run again; the second time takes seconds.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
LABEXTENSION = ROOT / "labextension"
OUTPUT = ROOT / "demo-output"


def say(text: str) -> None:
    """Print a step."""
    print(f"\033[1m▸ {text}\033[0m" if sys.stdout.isatty() else f"> {text}", flush=True)


def run(*command: str | Path, check: bool = True, quiet: bool = False, cwd: Path = ROOT, **env: str) -> int:
    """Run a command in the environment of `.venv` and return its exit status; a failure ends this program."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}", "VIRTUAL_ENV": str(VENV), **env}
    environment.pop("PYTHONHOME", None)
    output = subprocess.PIPE if quiet else None
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=cwd, env=environment, check=False, stdout=output, stderr=subprocess.STDOUT if quiet else None, text=True
    )
    if check and result.returncode != 0:
        if quiet:
            sys.stdout.write(result.stdout)
        sys.exit(f"✗ {' '.join(words)} failed with status {result.returncode}.")
    return result.returncode


def set_up(extra: str) -> None:
    """Make `.venv` and install the project with an extra into it, unless that has been done."""
    if sys.version_info < (3, 11):
        sys.exit(f"✗ Python 3.11 or newer is needed; this is {platform.python_version()}.")
    stamp = VENV / f".installed-{extra}"
    digest = _digest(extra)
    if stamp.exists() and stamp.read_text() == digest:
        return
    started = time.monotonic()
    if not PYTHON.exists():
        say("making .venv")
        if subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False, capture_output=True).returncode != 0:
            # Debian's python3 without python3-venv has no ensurepip; the system's pip can serve the environment.
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--clear", str(VENV)], check=True)
    if not (BIN / "uv").exists():
        has_pip = (BIN / "pip").exists()
        pip = [str(PYTHON), "-m", "pip"] if has_pip else [sys.executable, "-m", "pip", "--python", str(PYTHON)]
        run(*pip, "install", "--quiet", "--disable-pip-version-check", "uv", quiet=True)
    say(f"installing mlops_nb[{extra}] (the first time builds the JupyterLab extension: one to two minutes)")
    run(BIN / "uv", "pip", "install", "--python", PYTHON, "--editable", f".[{extra}]", UV_LINK_MODE="copy")
    stamp.write_text(digest)
    if extra == "dev":
        (VENV / ".installed-demo").write_text(_digest("demo"))
    say(f"installed in {time.monotonic() - started:.0f} s")


def _digest(extra: str) -> str:
    """Return what the installation depends on: the metadata, and what the labextension is built from."""
    sources = [ROOT / "pyproject.toml", ROOT / "hatch_build.py", LABEXTENSION / "package.json", LABEXTENSION / "yarn.lock"]
    for folder in ("src", "style", "schema"):
        sources += sorted(p for p in (LABEXTENSION / folder).rglob("*") if p.is_file())
    content = b"\0".join(path.read_bytes() for path in sources if path.exists())
    return hashlib.sha256(extra.encode() + content).hexdigest()


def demo() -> None:
    """Run the main job: the notebook, headlessly, twice; then the comparison and the report."""
    set_up("demo")
    OUTPUT.mkdir(exist_ok=True)
    settings = {
        "gentle": ["-p", "learning_rate", "0.05", "-p", "max_depth", "2"],
        "eager": ["-p", "learning_rate", "0.4", "-p", "max_depth", "5"],
    }
    for name, parameters in settings.items():
        say(f"papermill notebooks/train.ipynb ({name}: {' '.join(parameters[1::3])} = {' '.join(parameters[2::3])})")
        run(
            BIN / "papermill",
            "--engine",
            "mlops_nb",
            "notebooks/train.ipynb",
            OUTPUT / f"train-{name}.ipynb",
            "-p",
            "run_name",
            name,
            *parameters,
        )
    say("comparing the two runs")
    report = ["--markdown", OUTPUT / "report.md", "--html", OUTPUT / "report.html"]
    run(BIN / "mlops-nb", "report", "@last~1", "@last", *report)
    run(BIN / "mlops-nb", "track", "ls", "-n", "2")
    print("\nThe report is in demo-output/report.md and demo-output/report.html, the executed notebooks beside it.")
    print("Open the runs in JupyterLab with:\n\n    python3 dev.py lab\n")


def test(*arguments: str, everything: bool = False) -> None:
    """Run the tests: the Python ones, those in a browser, and those of the front end."""
    set_up("dev")
    chromium = _find_chromium()
    failures = 0
    say("unit, contract, server and notebook tests")
    marks = "not browser" if everything else "not browser and not slow"
    if arguments:
        sys.exit(run(PYTHON, "-m", "pytest", *arguments, check=False))
    failures += run(PYTHON, "-m", "pytest", "-m", marks, "-n", "2", "--ignore=tests/browser", check=False) != 0
    if shutil.which("node"):
        say("front-end tests")
        failures += run("jlpm", "test", cwd=LABEXTENSION, check=False) != 0
    else:
        print("the front-end unit tests are left out: there is no Node here (the browser tests still run the front end)")
    say("browser tests")
    if chromium is None:
        print("✗ no Chromium here, and none could be installed: the browser tests will say so.")
    marks = "browser" if everything else "browser and not slow"
    failures += run(PYTHON, "-m", "pytest", "-m", marks, "tests/browser", check=False, **({"CHROMIUM": chromium} if chromium else {})) != 0
    if failures:
        sys.exit("✗ tests failed")


def _find_chromium() -> str | None:
    """Return a Chromium for the browser tests, installing Debian's where that is possible."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        say("installing Debian's chromium for the browser tests")
        run("apt-get", "update", "-qq", check=False, quiet=True)
        run("apt-get", "install", "-y", "-qq", "chromium", check=False, quiet=True, DEBIAN_FRONTEND="noninteractive")
        found = shutil.which("chromium")
    if found is None:
        say("installing Playwright's chromium for the browser tests")
        run(PYTHON, "-m", "playwright", "install", "chromium", check=False, quiet=True)
    return found


def lint() -> None:
    """Run every check of style and types."""
    set_up("dev")
    failures = 0
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        say(" ".join(command))
        failures += run(*command, check=False) != 0
    if shutil.which("node"):
        say("jlpm lint:check")
        run("jlpm", "install", "--immutable", cwd=LABEXTENSION, quiet=True)
        failures += run("jlpm", "lint:check", cwd=LABEXTENSION, check=False) != 0
    else:
        print("the checks of the front end are left out: there is no Node here")
    if failures:
        sys.exit("✗ lint failed")


def lab(*arguments: str) -> None:
    """Open JupyterLab on this project."""
    set_up("demo")
    sys.exit(run(BIN / "jupyter", "lab", *(arguments or ("notebooks/quickstart.ipynb",)), check=False))


def main() -> None:
    """Do what the command line says."""
    verb, arguments = (sys.argv[1] if len(sys.argv) > 1 else "help"), sys.argv[2:]
    if verb == "demo":
        demo()
    elif verb in ("test", "test-all"):
        test(*arguments, everything=verb == "test-all")
    elif verb == "lint":
        lint()
    elif verb == "lab":
        lab(*arguments)
    else:
        print(__doc__)
        sys.exit(0 if verb in ("help", "-h", "--help") else 2)


if __name__ == "__main__":
    main()
