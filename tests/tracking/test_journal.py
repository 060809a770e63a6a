"""The journal: on disk before the call returns, whole lines only, and a way on when the disk refuses."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlops_nb.core.events import MetricLogged, ParamLogged, RunStarted
from mlops_nb.tracking.journal import MAX_IN_MEMORY, Journal, take_over

STORE = "sqlite:////nowhere/store.db"


def journal_in(folder: Path, faults: list[OSError] | None = None) -> Journal:
    return Journal(folder, "a" * 32, STORE, on_fault=(faults if faults is not None else []).append)


def test_what_was_appended_is_on_disk_at_once(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(ParamLogged(key="lr", value="0.1"))
    assert b'"key":"lr"' in journal.path.read_bytes().splitlines()[1]


def test_events_come_back_numbered_and_in_order(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    for i in range(10_000):
        journal.append(MetricLogged(ts=i, key="m", value=float(i), step=i))
    seen = []
    while (batch := journal.next_batch())[0]:
        seen += [event.seq for event in batch[0]]
        journal.mark_delivered(batch[1])
    assert seen == list(range(1, 10_001)) and journal.is_delivered


def test_a_line_longer_than_a_read_is_delivered_whole(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    journal.append(ParamLogged(key="long", value="x" * 1_000_000))
    (event,), _ = journal.next_batch()
    assert isinstance(event, ParamLogged) and len(event.value) == 1_000_000


def test_a_living_process_keeps_its_journal(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    assert take_over(journal.path) is None
    journal.close(remove=False)
    leftover = take_over(journal.path)
    assert leftover is not None and leftover.header.store == STORE
    leftover.close()


@pytest.mark.parametrize("cut", [1, 5, 30])
def test_a_torn_last_line_is_cut_off_and_the_rest_is_kept(tmp_path: Path, cut: int) -> None:
    journal = journal_in(tmp_path)
    for key in ("a", "b", "c"):
        journal.append(ParamLogged(key=key, value="1"))
    journal.close(remove=False)
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])
    leftover = take_over(journal.path)
    assert leftover is not None
    assert [event.key for event in leftover.events if isinstance(event, ParamLogged)] == ["a", "b"]
    leftover.append(ParamLogged(key="d", value="1"))
    leftover.close()
    again = take_over(journal.path)
    assert again is not None and [event.seq for event in again.events] == [1, 2, 3]
    again.close()


def test_a_journal_without_a_whole_header_is_removed(tmp_path: Path) -> None:
    path = tmp_path / f"{'a' * 32}.x.jsonl"
    path.write_bytes(b'{"run_id":"aaa')
    assert take_over(path) is None and not path.exists()


def test_a_folder_that_cannot_be_made_leads_to_memory_and_one_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    faults: list[OSError] = []
    journal = journal_in(tmp_path / "file" / "journal", faults)
    journal.append(RunStarted(experiment="e", name="n"))
    journal.append(ParamLogged(key="a", value="1"))
    assert len(faults) == 1
    events, receipt = journal.next_batch()
    assert [event.seq for event in events] == [1, 2]
    journal.mark_delivered(receipt)
    assert journal.is_delivered


def test_memory_is_bounded_and_what_is_dropped_is_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    journal = journal_in(tmp_path / "file" / "journal")
    body = b'"t":"p","ts":1,"key":"k","value":"v"}'
    for _ in range(MAX_IN_MEMORY + 5):
        journal.append_body(body)
    assert journal.dropped == 5


_FULL_DISK = """
import sys
from pathlib import Path
from mlops_nb.core.events import ParamLogged
from mlops_nb.tracking.journal import Journal
faults = []
folder = Path(sys.argv[1])
journal = Journal(folder, "a" * 32, "s", on_fault=faults.append)
filler = folder / "filler"
count = 0
while not faults:
    journal.append(ParamLogged(key=f"k{count}", value="v" * 1000)); count += 1
for _ in range(3):
    journal.append(ParamLogged(key=f"k{count}", value="v")); count += 1
assert faults[0].errno == 28 and len(faults) == 1, faults
assert journal.path.read_bytes().endswith(b"\\n")
filler.unlink()
seen = []
while True:
    events, receipt = journal.next_batch()
    if not events: break
    seen += [event.key for event in events]; journal.mark_delivered(receipt)
assert seen == [f"k{i}" for i in range(count)], len(seen)
journal.append(ParamLogged(key="after", value="v"))
assert b"after" in journal.path.read_bytes() and len(faults) == 1
print("ok", count)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_loses_nothing_and_the_journal_goes_on_when_there_is_room(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mount)], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        (mount / "filler").write_bytes(b"x" * 500_000)
        done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(mount)], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and done.stdout.startswith("ok"), done.stderr
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_a_short_write_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[OSError] = []
    journal = journal_in(tmp_path, faults)
    journal.append(ParamLogged(key="a", value="1"))
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:10]))
    journal.append(ParamLogged(key="b", value="2"))
    monkeypatch.undo()
    assert faults[0].errno == errno.ENOSPC
    assert [line[:1] + line[-1:] for line in journal.path.read_bytes().splitlines()] == [b"{}", b"{}"]
