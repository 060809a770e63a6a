"""`models predict` in the right Python: this one, or that of the model's own environment."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from mlops_nb.errors import InvalidInput, MlopsError


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be scored; see the options of the command."""

    folder: str
    input_path: str | None = None
    output_path: str | None = None
    content_type: str | None = None
    params: str | None = None
    rows: int = 10_000
    is_quiet: bool = False
    allow_unsafe: bool = False


def run(request: Request, env_manager: str = "local") -> None:
    """Score, here or in the model's own environment.

    Raises:
        MlopsError: If that does not work; in another environment with what was written there.
    """
    if env_manager == "local":
        predict(request)
        return
    from mlops_nb.models.environments import choose

    def say(line: str) -> None:
        if not request.is_quiet:
            sys.stderr.write(f"  {line}\n")

    prepared = choose(Path(request.folder), env_manager, allow_unsafe=request.allow_unsafe, saying=say)
    if not prepared.is_own:
        predict(request)
        return
    told = msgspec.json.encode(request).decode()
    done = subprocess.run([str(prepared.python), "-m", "mlops_nb.models.prediction", told], env=prepared.environment)
    if done.returncode:
        raise MlopsError(f"Scoring in the environment {prepared.python} failed with {done.returncode}.", hint="The reason stands above.")


def predict(request: Request) -> None:
    """Score in this process."""
    from mlops_nb.models.batch import score, to_json_text
    from mlops_nb.models.loading import load_model

    params = _params(request.params)
    model = load_model(request.folder, allow_unsafe=request.allow_unsafe)
    with tempfile.TemporaryDirectory(prefix="mlops-nb-") as held:
        source = _input(request, Path(held))
        with _Progress(is_quiet=request.is_quiet or not sys.stderr.isatty()) as progress:
            done = score(
                model,
                source,
                request.output_path,
                kind=request.content_type or ("json" if request.input_path in (None, "-") else None),
                params=params,
                rows=request.rows,
                told=progress.tell,
            )
    if request.output_path is None:
        sys.stdout.write(to_json_text(done) + "\n")
    elif not request.is_quiet:
        sys.stderr.write(f"scored {done.rows} rows to {done.output}\n")


def _params(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        params = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"--params is no JSON: {error}.", hint="""Write it so: --params '{"name": 1}'.""") from None
    if not isinstance(params, dict):
        raise InvalidInput("--params is no object.", hint="""Write it so: --params '{"name": 1}'.""")
    return params


def _input(request: Request, held: Path) -> Path:
    """Return the input; what comes on standard input is put into a file first."""
    if request.input_path not in (None, "-"):
        return Path(str(request.input_path))
    path = held / "input"
    with path.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path


class _Progress:
    """A bar on a terminal, and nothing else."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._bar: Any = None
        if not is_quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("scoring"), BarColumn(), TextColumn("{task.fields[rows]:,} rows"), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("scoring", total=1.0, rows=0)

    def __enter__(self) -> _Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, rows: int, share: float | None) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=share or 0.0, rows=rows)


def main() -> int:
    """Score what the argument says, in JSON; for another environment."""
    try:
        predict(msgspec.json.decode(sys.argv[1], type=Request))
    except MlopsError as error:
        sys.stderr.write(f"✗ {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
