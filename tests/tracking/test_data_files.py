"""Files that are read while a run is open: found, hashed in the background, told by content and by other tools' versions."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blake3
import pandas as pd
import pytest

from mlops_nb.core.data_profile import DataProfile, from_json
from mlops_nb.core.datasets import DatasetInput
from mlops_nb.core.records import CellExecution
from mlops_nb.core.redaction import Redactor
from mlops_nb.errors import NotFound
from mlops_nb.tracking import session as sessions
from mlops_nb.tracking.data import hashing, watch
from mlops_nb.tracking.data.handing import grouped
from mlops_nb.tracking.data.hashing import HashCache, Stamp, Stopped, hash_file
from mlops_nb.tracking.data.logging import log_data
from mlops_nb.tracking.data.paths import is_data
from mlops_nb.tracking.data.sources import Places
from mlops_nb.tracking.session import Session


@pytest.fixture
def session(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    session = Session()
    monkeypatch.setattr(sessions, "current", session)
    yield session
    for run in reversed(list(session.runs)):
        run.stop()
    session.companions.data.end()


@pytest.fixture
def places(project: Path) -> Places:
    return Places(project, HashCache(project / "hashes.db"), Redactor({}))


def inputs(run: Any) -> dict[str, DatasetInput]:
    return {one.dataset.name: one for one in run.record().inputs.datasets}


def profile(one: DatasetInput) -> DataProfile:
    found = from_json(one.dataset.profile)
    assert found is not None
    return found


def cell(number: int) -> CellExecution:
    return CellExecution(index=number, source="", source_hash="", started=0)


def write(path: str, content: bytes = b"1,2\n") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


# -- which files count


def test_a_script_that_reads_a_file_has_it_as_an_input(session: Session) -> None:
    write("data/a.csv", b"x,y\n1,2\n")
    with session.start() as run:
        pd.read_csv("data/a.csv")
        open("data/a.csv").close()
    found = inputs(run)
    assert list(found) == ["data/a.csv"]
    whole = blake3.blake3(b"x,y\n1,2\n").hexdigest()
    assert found["data/a.csv"].dataset.digest == whole[:32] and profile(found["data/a.csv"]).content == f"blake3:{whole}"
    assert json.loads(found["data/a.csv"].dataset.source) == {"uri": str(Path("data/a.csv").absolute())}


def test_what_is_written_kept_or_code_is_no_input(session: Session) -> None:
    write("kept.bin")
    write("module.py", b"x = 1")
    write(".env", b"TOKEN=abc")
    with session.start() as run:
        Path("made.csv").write_text("a")
        pd.read_csv("made.csv")
        run.log_artifact("kept.bin")
        for name in ("module.py", ".env", "pyproject.toml", "/proc/self/status"):
            Path(name).read_bytes()
    assert inputs(run) == {}
    written = json.loads(b"".join(session.store().read_artifact(run.run_id, "data/written.json")))
    assert [Path(one["path"]).name for one in written] == ["made.csv"]


def test_files_read_before_or_after_the_run_are_not_its_inputs(session: Session) -> None:
    for name in ("before.csv", "within.csv", "after.csv"):
        write(name)
    pd.read_csv("before.csv")
    with session.start() as run:
        pd.read_csv("within.csv")
    pd.read_csv("after.csv")
    assert list(inputs(run)) == ["within.csv"]


def test_in_a_notebook_the_input_knows_its_cell_and_what_no_cell_reads_is_left_out(session: Session) -> None:
    session.user_ns = {}
    for name in ("one.csv", "two.csv", "between.csv"):
        write(name)
    with session.start() as run:
        for number, name in ((0, "one.csv"), (1, "two.csv")):
            session.cell = cell(number)
            run.begin_cell(session.cell)
            pd.read_csv(name)
            run.end_cell(session.cell)
            session.cell = None
            pd.read_csv("between.csv")
    assert set(inputs(run)) == {"one.csv", "two.csv"}
    products = {c.index: [p.name for p in c.products] for c in session.store().cells(run.run_id)}
    assert products == {0: ["one.csv"], 1: ["two.csv"]}


def test_what_an_earlier_cell_read_belongs_to_a_run_that_needs_the_cell(session: Session) -> None:
    session.user_ns = {}
    write("early.csv")
    session.companions.data.begin()
    session.cell = cell(0)
    pd.read_csv("early.csv")
    session.cell = None
    with session.start("without") as without:
        pass
    with session.start("with") as knows:
        knows.begin_cell(cell(0))  # as the ledger does for what a later cell builds on
        knows.end_cell(cell(0))
    assert list(inputs(knows)) == ["early.csv"] and inputs(without) == {}


def test_inputs_arrive_while_a_cell_still_runs(session: Session) -> None:
    write("a.csv")
    with session.start() as run:
        pd.read_csv("a.csv")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not inputs(run):
            time.sleep(0.05)
        assert list(inputs(run)) == ["a.csv"]


def test_a_folder_that_is_read_file_by_file_is_one_data_set(session: Session, places: Places) -> None:
    for i in range(300):
        write(f"images/{'cat' if i % 2 else 'dog'}/{i}.png", bytes([i % 256]) * 64)
    with session.start() as run:
        for file in sorted(Path("images").rglob("*.png")):
            file.read_bytes()
    found = inputs(run)
    assert list(found) == ["images/"]
    assert (profile(found["images/"]).files, profile(found["images/"]).size) == (300, 300 * 64)
    digest = found["images/"].dataset.digest
    assert places.path(Path("images")).digest == digest
    Path("images/cat/1.png").write_bytes(b"other")
    assert places.path(Path("images")).digest != digest


def test_folders_beside_each_other_are_one_but_never_the_whole_project(project: Path) -> None:
    root = Path("/p")
    files = (
        [f"/p/train/{c}/{i}.png" for c in "ab" for i in range(20)]
        + [f"/p/x/{i}" for i in range(20)]
        + ["/p/one.csv", "/p/train/labels.csv"]
    )
    groups, singles = grouped(dict.fromkeys(files), root)
    assert {str(k): len(v) for k, v in groups.items()} == {"/p/train": 41, "/p/x": 20} and singles == [Path("/p/one.csv")]


def test_a_file_that_changes_after_it_was_read_is_not_taken_for_what_was_read(session: Session) -> None:
    file = write("a.csv")
    with session.start() as run:
        pd.read_csv("a.csv")
        file.write_bytes(b"something else entirely")
        os.utime(file, (1, 1))
    one = inputs(run)["a.csv"]
    assert one.dataset.digest.startswith("unread-") and profile(one).content is None and profile(one).size == 4


def test_a_file_that_is_gone_by_then_and_a_folder_without_right_cost_nothing(session: Session) -> None:
    write("a.csv").touch()
    write("b.csv")
    with session.start() as run:
        pd.read_csv("a.csv")
        Path("a.csv").unlink()
        pd.read_csv("b.csv")
    assert list(inputs(run)) == ["b.csv"]


@pytest.mark.parametrize("level", ["off", "hash"])
def test_the_level_of_capture_is_kept(session: Session, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("MLOPS_NB_CAPTURE", level)
    write("a.csv")
    with session.start() as run:
        frame = pd.read_csv("a.csv")
        from mlops_nb.tracking.data.logging import log_fit_data

        log_fit_data(run, frame.assign(secret="value-of-mine"), name="fit")
    found = inputs(run)
    assert set(found) == (set() if level == "off" else {"a.csv", "fit"})
    assert all("value-of-mine" not in (one.dataset.profile or "") for one in found.values())


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/work/data/a.csv", True),
        ("/work/model.pth", True),
        ("/home/me/scikit_learn_data/x.pkz", True),
        ("/home/me/.cache/x.bin", False),
        ("/usr/share/zoneinfo/UTC", False),
        (f"{sys.prefix}/lib/x.json", False),
        ("/work/notebook.ipynb", False),
        ("/work/.mlops/store.db", False),
        ("/work/fonts/a.ttf", False),
        ("/dev/urandom", False),
    ],
)
def test_which_paths_may_be_data(path: str, expected: bool) -> None:
    assert is_data(path) is expected


def test_the_hook_never_raises_and_sees_whatever_open_takes(session: Session) -> None:
    write("a.csv")
    fd = os.open("a.csv", os.O_RDONLY)
    with session.start() as run:
        os.fdopen(fd).close()
        for odd in (b"a.csv", Path("./a.csv"), "\udc80.csv"):
            with contextlib.suppress(OSError), open(odd):
                pass
        with pytest.raises(FileNotFoundError):
            Path("nothing.csv").read_bytes()
        with pytest.raises((ValueError, OSError)):
            Path("a\0b").read_bytes()
        threads = [threading.Thread(target=lambda: Path("a.csv").read_bytes()) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert list(inputs(run)) == ["a.csv"]


def test_a_forked_child_does_not_disturb_the_parents_list(session: Session) -> None:
    write("a.csv")
    write("b.csv")
    with session.start() as run:
        pid = os.fork()
        if pid == 0:
            Path("b.csv").read_bytes()
            os._exit(0)
        os.waitpid(pid, 0)
        Path("a.csv").read_bytes()
    assert list(inputs(run)) == ["a.csv"]


# -- readers that open files themselves


def test_parquet_read_by_arrow_is_seen(session: Session) -> None:
    import pyarrow as pa
    import pyarrow.dataset
    import pyarrow.parquet as pq

    for name in ("a", "b", "c"):
        pq.write_table(pa.table({"x": [1, 2]}), f"{name}.parquet")
    Path("parts").mkdir()
    pq.write_table(pa.table({"x": [3]}), "parts/one.parquet")
    with session.start() as run:
        pd.read_parquet("a.parquet")
        pq.ParquetFile("b.parquet").read()
        with pq.ParquetFile(source="c.parquet") as file:
            file.read()
        pyarrow.dataset.dataset("parts").to_table()
    assert set(inputs(run)) == {"a.parquet", "b.parquet", "c.parquet", "parts/one.parquet"}


def test_readers_can_still_be_pickled_and_keep_their_signature(session: Session) -> None:
    import inspect
    import pickle

    with session.start():
        pass
    assert pickle.loads(pickle.dumps(pd.read_csv)) is pd.read_csv
    assert "filepath_or_buffer" in inspect.signature(pd.read_csv).parameters


def test_a_table_from_the_web_is_told_apart_by_its_content_and_its_password_is_not_kept(session: Session, project: Path) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x,y\n1,2\n")

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}/data/rows.csv?v=2&token=verysecret123"
    try:
        with session.start() as run:
            pd.read_csv(f"http://{address}")
    finally:
        server.shutdown()
        server.server_close()
    (one,) = inputs(run).values()
    assert one.dataset.name == "rows.csv" and not one.dataset.digest.startswith("unread") and profile(one).rows == 1
    assert "verysecret" not in one.dataset.source and "v=2" in one.dataset.source


def test_addresses_lose_users_passwords_and_signatures(places: Places) -> None:
    one = places.remote("https://me:hunter2secret@host/x.csv?X-Amz-Signature=abcdef&X-Amz-Credential=me&part=1&sig=q", {"ETag": '"e1"'})
    assert json.loads(one.source) == {"url": "https://host/x.csv?part=1", "ETag": '"e1"'}
    other = places.remote("https://host/x.csv?part=1", {"ETag": '"e2"'})
    assert one.digest != other.digest and one.source_type == "http"


def test_lakefs_says_its_repository_and_ref(places: Places) -> None:
    one = places.remote("lakefs://shop/main~2/sales/a.parquet", {"checksum": "c0ffee", "size": 12})
    assert json.loads(one.source)["lakefs"] == {"repository": "shop", "ref": "main~2", "path": "sales/a.parquet"}
    assert from_json(one.profile).versions == {"lakefs": "shop@main~2"}  # type: ignore[union-attr]


def test_files_opened_through_fsspec_are_told_by_what_their_place_says(session: Session) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Lake(MemoryFileSystem):
        protocol = "lakefs"
        store: dict[str, Any] = {}
        pseudo_dirs = [""]

    fsspec.register_implementation("lakefs", Lake, clobber=True)
    with fsspec.open("lakefs://shop/v1/a.csv", "wb") as file:
        file.write(b"x\n1\n")
    with session.start() as run:
        pd.read_csv("lakefs://shop/v1/a.csv")
    (one,) = inputs(run).values()
    assert one.dataset.name == "a.csv" and one.dataset.source_type == "lakefs"
    assert json.loads(one.dataset.source)["lakefs"]["ref"] == "v1"


# -- hashes


def settle(*files: Path) -> None:
    """Let files be old, and older than a tick of the file system's clock."""
    for file in files:
        os.utime(file, (1, 1))
    time.sleep(0.1)


def test_a_hash_is_kept_until_the_file_changes(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write("a.bin", b"one")
    settle(file)
    cache = HashCache(project / "hashes.db")
    first = cache.hash(file)
    assert first.blake3 == blake3.blake3(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(hashing, "hash_file", None)  # nothing is read again
        assert HashCache(project / "hashes.db").hash(file) == first
        os.utime(file, (2, 2))
        with pytest.raises(TypeError):
            cache.hash(file)
    file.write_bytes(b"two")
    assert cache.hash(file).blake3 == blake3.blake3(b"two").hexdigest()
    assert (project / "hashes.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_was_just_written_is_not_trusted_to_its_clock(project: Path) -> None:
    file = write("a.bin", b"one")
    cache = HashCache(project / "hashes.db")
    cache.hash(file)
    status = file.stat()
    file.write_bytes(b"two")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cache.hash(file).blake3 == blake3.blake3(b"two").hexdigest()


@pytest.mark.parametrize("way", ["rewritten", "moved over", "cut and rewritten"])
def test_a_clock_that_somebody_sets_does_not_pass_other_content_off_as_the_same(project: Path, way: str) -> None:
    cache = HashCache(project / "hashes.db")
    file, other = project / "a.bin", project / "b.bin"
    file.write_bytes(b"first")
    other.write_bytes(b"other")
    settle(file, other)
    first = cache.hash(file)
    assert cache._get(str(file), Stamp.of(file.stat()), file.stat().st_ctime_ns) == first
    if way == "moved over":
        other.replace(file)
    else:
        if way == "cut and rewritten":
            os.truncate(file, 0)
        file.write_bytes(b"other")
        os.utime(file, (1, 1))  # as `touch -d` does
    assert (file.stat().st_size, file.stat().st_mtime) == (5, 1)
    assert cache.hash(file).blake3 == blake3.blake3(b"other").hexdigest()


def test_what_is_no_regular_file_is_refused_at_once(project: Path, places: Places) -> None:
    os.mkfifo(project / "pipe")
    (project / "folder").mkdir()
    os.mkfifo(project / "folder" / "pipe")
    (project / "folder" / "a.csv").write_text("x")
    (project / "folder" / "itself").symlink_to(".")
    (project / "folder" / "nothing").symlink_to("nowhere")
    (project / "one").symlink_to("other")
    (project / "other").symlink_to("one")
    for path in (project / "pipe", Path("/dev/zero"), project / "one"):
        with pytest.raises(OSError):
            places.path(path)
        with pytest.raises(OSError):
            hash_file(path)
    found = from_json(places.path(project / "folder").profile)
    assert found is not None and found.files == 1


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_a_damaged_or_impossible_cache_costs_only_time(project: Path, damage: bytes | None) -> None:
    file = write("a.bin", b"one")
    settle(file)
    if damage is None:
        cache = HashCache(project / "nowhere" / "hashes.db")
    else:
        (project / "hashes.db").write_bytes(damage)
        cache = HashCache(project / "hashes.db")
    expected = hash_file(file)
    assert cache.hash(file) == expected and cache.hash(file) == expected
    if damage is not None:
        with sqlite3.connect(project / "hashes.db") as db:
            assert db.execute("SELECT count(*) FROM contents").fetchone() == (1,)


def test_several_processes_share_the_cache(project: Path) -> None:
    settle(*(write(f"f{i}", bytes([i])) for i in range(40)))
    code = (
        "from pathlib import Path; from mlops_nb.tracking.data.hashing import HashCache\n"
        "cache = HashCache(Path('hashes.db'))\nprint([cache.hash(f'f{i}').blake3 for i in range(40)])"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(timeout=60)[0] for process in running}
    assert answers == {str([blake3.blake3(bytes([i])).hexdigest() for i in range(40)]) + "\n"}
    with sqlite3.connect("hashes.db") as db:
        assert db.execute("SELECT count(*) FROM contents").fetchone() == (40,)


def test_hashing_stops_when_it_is_told_to(project: Path) -> None:
    with pytest.raises(Stopped):
        hash_file(write("a.bin", b"x" * 10), stopped=lambda: True)


def test_the_end_of_a_run_does_not_wait_for_a_huge_file(session: Session) -> None:
    with open("huge.bin", "wb") as file:
        file.truncate(200 << 30)
    with session.start() as run:
        with open("huge.bin", "rb") as file:
            file.read(1)
        write("small.csv")
        os.utime("small.csv", (1, 1))
        began = time.monotonic()
    assert time.monotonic() - began < 10
    assert inputs(run)["huge.bin"].dataset.digest.startswith("unread-")


@pytest.mark.slow
def test_five_gigabytes_that_did_not_change_take_no_time(project: Path) -> None:
    with open("large.bin", "wb") as file:
        file.truncate(5 << 30)
    os.utime("large.bin", (1_000_000, 1_000_000))
    cache = HashCache(project / "hashes.db")
    first = cache.hash("large.bin")
    again = HashCache(project / "hashes.db")
    began = time.perf_counter()
    assert again.hash("large.bin") == first
    assert time.perf_counter() - began < 0.05


# -- versions of other tools


def test_dvc_pointers_name_the_version_and_whether_the_content_is_still_that(places: Places) -> None:
    Path(".dvc").mkdir()
    file = write("data/x.csv", b"content")
    md5 = hashlib.md5(b"content").hexdigest()
    write("data/x.csv.dvc", f"outs:\n- md5: {md5}\n  size: 7\n  hash: md5\n  path: x.csv\n".encode())
    one = places.file(file.absolute())
    assert json.loads(one.source)["dvc"] == {"name": f"md5:{md5}", "pointer": "x.csv.dvc", "matches": True}
    file.write_bytes(b"changed")
    other = places.file(file.absolute())
    assert json.loads(other.source)["dvc"]["matches"] is False
    assert from_json(other.profile).versions == {"dvc": f"md5:{md5} (changed since)"}  # type: ignore[union-attr]


def test_dvc_lock_and_tracked_folders_name_the_version(places: Places) -> None:
    Path(".dvc").mkdir()
    lock = "schema: '2.0'\nstages:\n  prepare:\n    cmd: x\n    outs:\n    - {path: out/y.csv, hash: md5, md5: aaaa, size: 1}\n"
    write("dvc.lock", lock.encode())
    write("images.dvc", b"outs:\n- {md5: bbbb.dir, path: images}\n")
    assert json.loads(places.file(write("out/y.csv").absolute()).source)["dvc"]["name"] == "md5:aaaa"
    inside = json.loads(places.file(write("images/1.png").absolute()).source)["dvc"]
    assert inside == {"name": "md5:bbbb.dir", "pointer": "images.dvc"}
    write("broken.csv.dvc", b"outs: [: : {")
    assert "dvc" not in json.loads(places.file(write("broken.csv").absolute()).source)


def git(*arguments: str) -> None:
    settings = ["-c", "user.name=me", "-c", "user.email=me@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, *arguments], check=True, capture_output=True)


def test_git_lfs_files_and_pointers_name_their_object(places: Places) -> None:
    content = b"large" * 1000
    oid = f"sha256:{hashlib.sha256(content).hexdigest()}"
    pointer = f"version https://git-lfs.github.com/spec/v1\noid {oid}\nsize {len(content)}\n".encode()
    git("init", "-q")
    write("data/big.bin", pointer)
    write("data/plain.txt", b"text")
    git("add", ".")
    write(".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    absent = places.file(Path("data/big.bin").absolute())
    assert from_json(absent.profile).versions == {"git-lfs": f"{oid} (not fetched)"}  # type: ignore[union-attr]
    write("data/big.bin", content)
    fetched = places.file(Path("data/big.bin").absolute())
    assert json.loads(fetched.source)["git-lfs"] == {"name": oid, "pointer": "git index", "matches": True}
    assert "git-lfs" not in json.loads(places.file(Path("data/plain.txt").absolute()).source)
    write("data/.gitattributes", b"*.bin -filter\n")
    assert "git-lfs" not in json.loads(places.file(Path("data/big.bin").absolute()).source)


def test_a_delta_table_is_one_data_set_with_its_version(session: Session) -> None:
    write("sales/_delta_log/00000000000000000000.json", b'{"metaData":{}}')
    write("sales/_delta_log/00000000000000000001.json", b'{"add":{}}')
    for part in range(3):
        write(f"sales/part-{part}.parquet")
    with session.start() as run:
        for part in range(3):
            Path(f"sales/part-{part}.parquet").read_bytes()
    (one,) = inputs(run).values()
    assert one.dataset.source_type == "delta_table" and json.loads(one.dataset.source)["delta_table_version"] == 1
    assert profile(one).versions == {"delta": "1"}


# -- by hand


def test_data_can_be_named_by_hand_as_path_address_table_or_mlflows_object(session: Session) -> None:
    import mlflow.data

    write("a.csv")
    with session.start() as run:
        log_data(run, "a.csv", name="rows", context="testing")
        log_data(run, "s3://bucket/key.parquet")
        log_data(run, pd.DataFrame({"x": [1]}), name="frame")
        log_data(run, mlflow.data.from_pandas(pd.DataFrame({"x": [1]}), name="theirs"))
        with pytest.raises(NotFound, match="missing"):
            log_data(run, "missing.csv")
    found = inputs(run)
    assert set(found) >= {"rows", "key.parquet", "frame", "theirs"} and found["rows"].context == "testing"
    assert found["key.parquet"].dataset.source_type == "s3" and found["theirs"].dataset.source_type == "code"


def test_opening_files_costs_little_when_nothing_is_tracked_and_when_it_is(session: Session) -> None:
    write("a.csv")

    def cost() -> float:
        began = time.thread_time()
        for _ in range(2000):
            open("a.csv").close()
        return (time.thread_time() - began) / 2000

    session.companions.data.begin()
    cost()
    idle = min(cost() for _ in range(5))
    with session.start():
        cost()
        watched = min(cost() for _ in range(5))
    assert watched - idle < 50e-6
    assert watch._watches
    assert Stamp.of(os.stat("a.csv")).size == 4
