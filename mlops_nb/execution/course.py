"""Which part of a notebook an execution executes: all of it, some cells, or what is left of an execution that was interrupted."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

LARGEST = 2 << 30
"""The most bytes that the variables of a checkpoint take, where nothing else is said."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What is executed of a notebook, and what is kept.

    Attributes:
        run_id: The run that the execution is; those that the notebook starts become its children. "": as papermill's users know it.
        skip: Ids of cells that are left as they are.
        folder: Where checkpoints go, absolute; "": there are none.
        resume: Number of the checkpoint in `folder` to go on from; 0: begin at the first cell, with the variables of a file
            `state-0000.pkl` if there is one.
        returns: Names of variables that are written to `values` below the folder in the end.
        largest: The most bytes of a checkpoint's variables.
        is_again: Whether this execution repeats one that was interrupted: its runs are gone on with.
    """

    run_id: str = ""
    skip: Sequence[str] = ()
    folder: str = ""
    resume: int = 0
    returns: Sequence[str] = ()
    largest: int = LARGEST
    is_again: bool = False


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint: cells up to `number` of `count` need not be executed again. The two files are in the course's folder."""

    number: int
    count: int
    state: str
    notebook: str
    size: int
    sha256: str


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What was written: its size in bytes, its digest (SHA-256), and by name what could not be, with why."""

    size: int
    sha256: str
    left_out: dict[str, str] = {}


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """A variable in a file of its own; `problem` says why there is none."""

    file: str = ""
    size: int = 0
    sha256: str = ""
    kind: str = ""
    problem: str = ""
