"""What travels with a notebook, what stays, and what a machine refuses to unpack."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from mlops_nb.errors import InvalidInput, NotFound, StoreDamaged
from mlops_nb.runners.jobs.bundle import Manifest, unpack, write_bundle
from mlops_nb.runners.jobs.lock import lock_of, unmet
from mlops_nb.runners.jobs.preflight import check_parameters, preflight, read_notebook
from mlops_nb.runners.jobs.shipping import shipment_of
from tests.runners.jobs.conftest import write_notebook


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    (folder / "notebooks").mkdir(parents=True)
    write_notebook(folder / "notebooks" / "train.ipynb", "import helper, numpy\nimport os\nopen('../data.csv'); os.environ['TOKEN_X']")
    (folder / "notebooks" / "helper.py").write_text("import scipy\nlr = 1\n")
    (folder / "data.csv").write_text("1,2\n")
    (folder / ".gitignore").write_text("data.csv\n")
    (folder / ".env").write_text("KEY=value\n")
    (folder / "deploy.pem").write_text("key\n")
    for words in ("init -q", "add .gitignore notebooks", "-c user.name=a -c user.email=a@b commit -qm x"):
        subprocess.run(["git", *words.split()], cwd=folder, check=True)
    (folder / "notebooks" / "helper.py").write_text("import scipy\nlr = 2\n")
    (folder / "new.py").write_text("x = 1\n")
    monkeypatch.chdir(folder)
    return folder


def found(project: Path, **options: object):  # type: ignore[no-untyped-def]
    notebook = project / "notebooks" / "train.ipynb"
    return preflight(notebook, read_notebook(notebook), **options)  # type: ignore[arg-type]


def test_the_repository_travels_as_it_is_now_without_what_git_ignores_and_without_secrets(project: Path) -> None:
    shipment = shipment_of(project / "notebooks" / "train.ipynb")
    assert shipment.files == [".gitignore", "new.py", "notebooks/helper.py", "notebooks/train.ipynb"]
    assert set(shipment.left) == {".env", "deploy.pem"}
    assert shipment.changed == ["new.py", "notebooks/helper.py"] and len(shipment.commit) == 40


def test_what_is_included_travels_but_neither_secrets_nor_what_lies_elsewhere(project: Path) -> None:
    notebook = project / "notebooks" / "train.ipynb"
    assert "data.csv" in shipment_of(notebook, ["data.csv"]).files
    for wrong, kind in ((".env", InvalidInput), ("/etc/hostname", InvalidInput), ("none", NotFound)):
        with pytest.raises(kind):
            shipment_of(notebook, [wrong])


def test_outside_of_a_repository_the_sources_beside_the_notebook_travel(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "n.ipynb", "1")
    (tmp_path / "helper.py").write_text("1")
    (tmp_path / "model.bin").write_bytes(b"1")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "x.py").write_text("1")
    assert shipment_of(notebook).files == ["helper.py", "n.ipynb"]


def test_the_preflight_says_what_will_be_missing(project: Path) -> None:
    said = str(found(project))
    assert "../data.csv (git ignores it)" in said
    assert "TOKEN_X" in said
    assert "2 changed since" in said
    assert ".env (by its name it holds a secret)" in said
    lock = found(project).lock.lines
    assert any(line.startswith("numpy==") for line in lock)
    assert any(line.startswith("scipy==") for line in lock)  # which a module that travels imports
    assert unmet(lock) == [] and unmet(["numpy==0.0.1"]) == ["numpy==0.0.1"]
    assert "../data.csv" not in str(found(project, include=["data.csv"]))


def test_what_a_lock_needs_in_turn_is_in_it() -> None:
    assert {line.partition("==")[0] for line in lock_of(["pandas"]).lines} >= {"pandas", "numpy", "python-dateutil"}


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"x": float("nan")}, "JSON"),
        ({"x": object()}, "JSON"),
        ({"x": {1, 2}}, "JSON"),
        ({"no name": 1}, "no name"),
        ({"api_token": "abcdefgh"}, "secret by its name"),
    ],
)
def test_parameters_that_cannot_be_sent_are_refused(parameters: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        check_parameters(parameters)


def test_a_notebook_of_another_language_or_without_code_is_refused(tmp_path: Path) -> None:
    import nbformat

    empty = nbformat.v4.new_notebook()
    nbformat.write(empty, tmp_path / "empty.ipynb")
    spec = {"name": "ir", "display_name": "R", "language": "R"}
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")], metadata={"kernelspec": spec})
    nbformat.write(other, tmp_path / "r.ipynb")
    (tmp_path / "broken.ipynb").write_text("{")
    for name in ("empty", "r", "broken"):
        with pytest.raises(InvalidInput):
            read_notebook(tmp_path / f"{name}.ipynb")
    with pytest.raises(NotFound):
        read_notebook(tmp_path / "none.ipynb")


def bundle(project: Path, path: Path) -> str:
    preflighted = found(project)
    manifest = Manifest(notebook=preflighted.notebook, python="3.11.0")
    return write_bundle(path, manifest, preflighted.shipment, b"{}", b"state")


def test_the_same_files_make_the_same_bundle_which_unpacks_to_them(project: Path, tmp_path: Path) -> None:
    digest = bundle(project, tmp_path / "a")
    assert digest == bundle(project, tmp_path / "b")
    target = tmp_path / "machine"
    target.mkdir()
    manifest, tree, state = unpack(iter([(tmp_path / "a").read_bytes()]), digest, target)
    assert manifest.notebook == "notebooks/train.ipynb" and state is not None and state.read_bytes() == b"state"
    assert (tree / "notebooks" / "helper.py").read_text() == "import scipy\nlr = 2\n"
    assert (tree / "notebooks" / "train.ipynb").read_bytes() == b"{}"


def test_a_bundle_of_other_bytes_is_not_looked_at(project: Path, tmp_path: Path) -> None:
    digest = bundle(project, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    content[len(content) // 2] ^= 1
    target = tmp_path / "machine"
    target.mkdir()
    with pytest.raises(StoreDamaged):
        unpack(iter([bytes(content)]), digest, target)
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("kind", ["outside", "absolute", "link", "notebook"])
def test_a_bundle_that_leads_out_of_its_folder_is_refused(kind: str, tmp_path: Path) -> None:
    import hashlib

    import msgspec

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        notebook = "../x.ipynb" if kind == "notebook" else "x.ipynb"
        manifest = msgspec.json.encode(Manifest(notebook=notebook, python="3.11"))
        for name, content in (
            ("manifest.json", manifest),
            ({"outside": "../evil", "absolute": "/tmp/evil-of-jobs"}.get(kind, "tree/a"), b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        if kind == "link":
            info = tarfile.TarInfo("tree/link")
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    target = tmp_path / "machine"
    target.mkdir()
    with pytest.raises(InvalidInput):
        unpack(iter([made.getvalue()]), hashlib.sha256(made.getvalue()).hexdigest(), target)
    assert not (tmp_path / "evil").exists() and not Path("/tmp/evil-of-jobs").exists()
