"""What a store must hold: batches that both the writers and the checks can make from a seed, and side logs of what became of each.

A side log has a line for each step of each batch: `S number` when it is sent, `A number seconds` when it was acknowledged,
`R status code` for an answer that asks to send it again, `L error` where the answer was lost, so that it is sent again,
and `E text` for anything that should not have happened.
"""

from __future__ import annotations

import math
import random
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

Point = tuple[str, int, int, int]
"""(key, step, timestamp, bits)"""

_KEYS = ("loss", "acc", "lr")
_SPECIAL = (math.nan, math.inf, -math.inf, -0.0, 0.0, 5e-324, -1.7976931348623157e308)
_SHARED_EVERY = 4


def bits_of(value: float) -> int:
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


def value_of(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<q", bits))[0])


def rank(point: tuple[int, int, int]) -> tuple[int, int, float]:
    """Return what decides which point is the latest: step, timestamp, value."""
    value = value_of(point[2])
    return point[0], point[1], -math.inf if math.isnan(value) else value


@dataclass(frozen=True)
class Batch:
    """One call of `log-batch`. `shared` says that it goes to the run that all clients log to."""

    shared: bool
    points: list[Point]
    params: dict[str, str]
    tags: dict[str, str]


def batch(seed: int, client: int, number: int, size: int = 100) -> Batch:
    """Return a batch of a client: the same one each time."""
    chance = random.Random(f"{seed}/{client}/{number}")
    points: set[Point] = set()
    while len(points) < size:
        step = number * size + len(points)
        if chance.random() < 0.1:
            step = chance.randrange(step + 1)
        value = chance.choice(_SPECIAL) if chance.random() < 0.03 else chance.gauss(0, 1)
        points.add((chance.choice(_KEYS), step, 1_700_000_000_000 + step * 16 + client, bits_of(value)))
    ordered = sorted(points, key=lambda point: (point[1], chance.random()))
    params = {f"p{client}.{number}": f"value {number}"} if number % 10 == 0 else {}
    return Batch(shared=number % _SHARED_EVERY == 0, points=ordered, params=params, tags={f"t{client}": str(number)})


@dataclass
class Log:
    """What a side log says."""

    sent: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    acknowledged_at: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    errors: list[str] = field(default_factory=list)


def read_log(path: Path) -> Log:
    log = Log()
    for line in path.read_text().splitlines():
        kind, _, rest = line.partition(" ")
        words = rest.split()
        if kind == "S":
            log.sent.add(int(words[0]))
        elif kind == "A":
            log.acknowledged.add(int(words[0]))
            log.acknowledged_at.append(float(words[1]))
            log.seconds.append(float(words[2]))
        elif kind == "R":
            log.refused[rest] += 1
        elif kind == "L":
            log.unanswered += 1
        else:
            log.errors.append(rest)
    return log


@dataclass
class Found:
    """What a store answers about a run."""

    points: list[Point]
    latest: Mapping[str, tuple[int, int, int]]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass
class Verdict:
    n: int = 0
    lost: int = 0
    dup: int = 0
    altered: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return (self.lost, self.dup, self.altered, self.wrong) == (0, 0, 0, [])


def judge(seed: int, logs: Sequence[Log], found: Sequence[Found], size: int = 100, *, first: int = 0) -> Verdict:
    """Compare what the clients know with what is there.

    Args:
        logs: Of each client.
        found: The run of each client, and last the one that they share; of a single client that may be the same.
        first: The number of the first client.
    """
    verdict = Verdict()
    must: list[set[Point]] = [set() for _ in found]
    unsure: list[list[Batch]] = [[] for _ in found]
    for client, log in enumerate(logs):
        for number in log.sent:
            one = batch(seed, first + client, number, size)
            at = len(found) - 1 if one.shared else client
            if number in log.acknowledged:
                must[at].update(one.points)
                verdict.n += len(one.points)
                for key, value in one.params.items():
                    if found[at].params.get(key) != value:
                        verdict.wrong.append(f"run {at}: param {key} is {found[at].params.get(key)!r}")
            else:
                unsure[at].append(one)
    for at, (run, sure) in enumerate(zip(found, must, strict=True)):
        there = Counter(run.points)
        verdict.dup += sum(count - 1 for count in there.values())
        verdict.lost += len(sure - there.keys())
        known = set(sure)
        for one in unsure[at]:
            missing = set(one.points) - there.keys()
            if missing and set(one.points) - sure - missing:
                verdict.wrong.append(f"run {at}: half of a batch is there")
            if one.params.items() - run.params.items() and not missing:
                verdict.wrong.append(f"run {at}: a batch is there without its params")
            known.update(one.points)
        verdict.altered += len(there.keys() - known)
        verdict.wrong += _wrong_latest(at, run)
    verdict.wrong += _wrong_tags(logs, found, first)
    return verdict


def _wrong_latest(at: int, run: Found) -> list[str]:
    newest: dict[str, tuple[int, int, int]] = {}
    for key, *place in run.points:
        point = (place[0], place[1], place[2])
        if key not in newest or rank(point) > rank(newest[key]):
            newest[key] = point
    wrong = [f"run {at}: latest {key} is {run.latest.get(key)}, not {point}" for key, point in newest.items()
             if key not in run.latest or rank(run.latest[key]) != rank(point)]  # fmt: skip
    return wrong + [f"run {at}: {key} has a latest point but no points" for key in run.latest.keys() - newest.keys()]


def _wrong_tags(logs: Sequence[Log], found: Sequence[Found], first: int) -> Iterable[str]:
    for client, log in enumerate(logs):
        batches: dict[int, list[int]] = {}
        for number in log.sent:
            batches.setdefault(len(found) - 1 if number % _SHARED_EVERY == 0 else client, []).append(number)
        for at, mine in batches.items():
            done = max((number for number in mine if number in log.acknowledged), default=-1)
            value = found[at].tags.get(f"t{first + client}")
            if value is None and done >= 0:
                yield f"run {at}: tag t{client} is missing"
            elif value is not None and not done <= int(value) <= max(mine, default=-1):
                yield f"run {at}: tag t{client} is {value}, not {done}"
