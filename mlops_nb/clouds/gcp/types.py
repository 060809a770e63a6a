"""Names of Google Cloud's machine types and what they say: `n1-standard-4+nvidia-tesla-t4*1`. Pure; no I/O."""

from __future__ import annotations

import re

from mlops_nb.clouds.base import WishRefused
from mlops_nb.clouds.sizes import gpu_of
from mlops_nb.core.records import Record

_MACHINE = re.compile(r"[a-z][a-z0-9]{0,9}(?:-[a-z0-9]{1,12}){1,4}", re.ASCII)
_CUSTOM = re.compile(r"(?:([a-z]\d[a-z]?)-)?custom-(\d{1,4})-(\d{3,7})(?:-ext)?", re.ASCII)
_ACCELERATOR = re.compile(r"([a-z][a-z0-9-]{1,62})(?:\*(\d{1,2}))?", re.ASCII)
_ARM = ("t2a", "c4a", "n4a", "a4x")
_HYPERDISK = ("n4", "n4a", "n4d", "c4", "c4a", "c4d", "a4", "a4x", "g4", "x4", "m4", "h4d")


class MachineShape(Record, frozen=True, kw_only=True):
    """What a type is made of.

    Attributes:
        machine: Google's name of it, without the GPU that is attached.
        accelerator: Google's name of the GPU, and `gpus` how many.
        attached: Whether the GPU is attached to the machine, or is part of its type.
        cpus, memory_gb: None: not known.
    """

    machine: str
    accelerator: str = ""
    gpus: int = 0
    attached: bool = False
    cpus: float | None = None
    memory_gb: float | None = None

    @property
    def family(self) -> str:
        """n1, e2, g2, …; a custom type without a family is an n1."""
        first = self.machine.partition("-")[0]
        return "n1" if first == "custom" else first

    @property
    def is_custom(self) -> bool:
        return _CUSTOM.fullmatch(self.machine) is not None

    @property
    def is_arm(self) -> bool:
        return self.family in _ARM

    @property
    def disk(self) -> str:
        """The kind of its boot disk: the newest families take no persistent disks."""
        return "hyperdisk-balanced" if self.family in _HYPERDISK else "pd-balanced"

    @property
    def gpu(self) -> str:
        return gpu_of(self.accelerator)

    @property
    def name(self) -> str:
        return f"{self.machine}+{self.accelerator}*{self.gpus}" if self.attached else self.machine


def shape_of(name: str) -> MachineShape:
    """Return what the name of a type says: `MACHINE` or `MACHINE+ACCELERATOR*COUNT`, as CML writes it.

    Raises:
        WishRefused: If it is no such name.
    """
    machine, plus, accelerator = name.partition("+")
    found = _ACCELERATOR.fullmatch(accelerator)
    if not _MACHINE.fullmatch(machine) or (plus and not found):
        hint = "Write MACHINE or MACHINE+ACCELERATOR*COUNT: n1-standard-4+nvidia-tesla-t4*1"
        raise WishRefused(f"'{name[:80]}' is not a machine type of Google Cloud.", hint=hint)
    cpus = memory = None
    if custom := _CUSTOM.fullmatch(machine):
        cpus, memory = float(custom[2]), int(custom[3]) / 1024
    if not found:
        return MachineShape(machine=machine, cpus=cpus, memory_gb=memory)
    return MachineShape(machine=machine, accelerator=found[1], gpus=int(found[2] or 1), attached=True, cpus=cpus, memory_gb=memory)
