"""How much memory a process held and was allowed, for the reason of a run that memory ran out for. Linux tells; others tell less."""

from __future__ import annotations

from pathlib import Path

import msgspec

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_CGROUPS = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


def of_this_process() -> str | None:
    """Return how this process stands after a MemoryError: `it held 512 MB of 600 MB that are allowed`; None if unknown."""
    try:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource is not None else -1
        if 0 < limit < _UNLIMITED:
            held = _bytes_of("self", "VmPeak")
            return f"it held {_amount(held)} of the {_amount(limit)} of address space that are allowed" if held else None
        held = _bytes_of("self", "VmHWM")
        if not held:
            return None
        group = _Group.of("self")
        return f"it held {_amount(held)}" + (f" of {_amount(group.limit)} that are allowed" if group and group.limit else "")
    except (OSError, ValueError, MemoryError):
        return None


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """How often memory had run out when a process began: what tells later whether it did for this process.

    `group` is the folder of its control group, "" for the whole machine; `limit` is in bytes.
    """

    group: str
    kills: int
    limit: int | None = None


def mark() -> Mark | None:
    """Return the mark of this process; None where the system does not tell."""
    try:
        group = _Group.of("self")
        if group is not None:
            return Mark(group=str(group.folder), kills=group.kills, limit=group.limit)
        return Mark(group="", kills=_kills_on_machine())
    except (OSError, ValueError, MemoryError):
        return None


def since(then: Mark | None) -> str | None:
    """Return why a process that left this mark may have ended, if memory has run out since; else None."""
    if then is None:
        return None
    try:
        kills = _Group.at(Path(then.group)).kills if then.group else _kills_on_machine()
    except (OSError, ValueError):  # another boot, or a container that is gone
        return None
    if kills <= then.kills:
        return None
    if then.limit is not None:
        return f"memory ran out: {_amount(then.limit)} are allowed to it and what runs beside it"
    return "memory ran out on this machine, perhaps for it"


class MemoryWatch:
    """Remembers what processes held when they were last looked at, and whether the system has ended some for want of memory."""

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._groups: dict[int, tuple[_Group, int]] = {}

    def look(self, pid: int) -> None:
        """Look at a process that lives."""
        try:
            held = _bytes_of(str(pid), "VmRSS")
            if not held:  # it has ended; what the system now says of its group is not so any more
                return
            self._held[pid] = held
            group = _Group.of(str(pid))
            if group is not None and (pid not in self._groups or self._groups[pid][0].folder != group.folder):
                self._groups[pid] = group, group.kills
        except (OSError, ValueError):  # gone meanwhile, or another system
            return

    def forget(self, pid: int) -> None:
        """Look no more at a process."""
        self._held.pop(pid, None)
        self._groups.pop(pid, None)

    def why_killed(self, pid: int) -> str:
        """Return what memory has to do with it that a process ended by SIGKILL."""
        held = self._held.get(pid)
        group, kills = self._groups.get(pid, (None, 0))
        of = f" of {_amount(group.limit)}" if group is not None and group.limit else ""
        amount = f"it last held {_amount(held)}{of}" if held else ""
        if group is not None and _has_more(group, kills):
            return f"memory ran out: {amount}" if amount else "memory ran out"
        return "memory ran out, or someone ended it" + (f"; {amount}" if amount else "")


class _Group:
    """The control group that limits the memory of a process, of either version: its own, or one above with less."""

    def __init__(self, folder: Path, limit: str, events: str) -> None:
        self.folder, self._limit, self._events = folder, limit, events

    @classmethod
    def of(cls, process: str) -> _Group | None:
        for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "memory"):
                root = _CGROUPS / controllers
                folder = root / path.lstrip("/")
                # In a container the path may be that of the host, where the container sees its own group as the root.
                found = [cls.at(at) for at in (folder, *folder.parents) if at.is_relative_to(root)]
                found = [group for group in found if group.exists()]
                if found:
                    return min(found, key=lambda group: group.limit or _UNLIMITED)
        return None

    @classmethod
    def at(cls, folder: Path) -> _Group:
        if (folder / "memory.limit_in_bytes").exists():
            return cls(folder, "memory.limit_in_bytes", "memory.oom_control")
        return cls(folder, "memory.max", "memory.events")

    def exists(self) -> bool:
        """Return whether there is such a group, which the root of version 2 is not."""
        return (self.folder / self._limit).exists()

    @property
    def limit(self) -> int | None:
        """How much memory it may hold (bytes); None: as much as there is."""
        text = (self.folder / self._limit).read_text().strip()
        return int(text) if text.isdecimal() and int(text) < _UNLIMITED else None

    @property
    def kills(self) -> int:
        """How many of its processes the system has ended because memory ran out."""
        return _kills_in(self.folder / self._events)


def _has_more(group: _Group, kills: int) -> bool:
    try:
        return group.kills > kills
    except (OSError, ValueError):  # the group went with its last process
        return False


def _kills_on_machine() -> int:
    return _kills_in(Path("/proc/vmstat"))


def _kills_in(file: Path) -> int:
    lines = file.read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _bytes_of(process: str, field: str) -> int:
    """Return a figure of a process's status in bytes."""
    with open(f"/proc/{process}/status", "rb") as file:  # noqa: PTH123 - called when memory is short
        for line in file:
            if line.startswith(field.encode() + b":"):
                return int(line.split()[1]) * 1024
    return 0


def _amount(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
