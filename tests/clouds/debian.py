"""Programs of Debian for tests: the system's own, or its packages unpacked into a cache, without being installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-nb-tests"


def program(name: str, *packages: str, inside: str) -> Path:
    """Return a program; the test is skipped where it can neither be found nor fetched.

    Args:
        packages: What Debian has it in, with the libraries that may be missing.
        inside: Where it is in the first package.
    """
    if there := shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"):
        return Path(there)
    folder = CACHE / name
    if not (folder / inside).exists():
        if not shutil.which("apt-get") or not shutil.which("dpkg"):
            pytest.skip(f"there is no {name}, and no apt-get to fetch Debian's")
        folder.mkdir(parents=True, exist_ok=True)
        fetched = subprocess.run(["apt-get", "download", *packages], cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if fetched.returncode:
            pytest.skip(f"there is no {name}, and Debian's cannot be fetched: {fetched.stderr.strip()[-200:]}")
        for package in folder.glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(folder)], check=True)
    return folder / inside
