"""The pipe between the event loop and the thread that stores an upload: bounded, ordered, and it ends however the client does."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import pytest

from mlops_nb.api.upload import UploadBroken, UploadPipe

T = bytes | list[int]


def with_pipe(work: Callable[[UploadPipe], object], feed: Callable[[UploadPipe], object], **options: float) -> object:
    """Run `feed` on an event loop and `work` in a thread, and return what `work` does."""

    async def both() -> object:
        pipe = UploadPipe(**options)
        working = asyncio.get_running_loop().run_in_executor(None, work, pipe)
        await feed(pipe)  # type: ignore[misc]
        return await asyncio.wait_for(working, 30)

    return asyncio.run(both())


def test_what_goes_in_comes_out_in_order_in_pieces_of_the_size_asked_for() -> None:
    data = os.urandom(10_000_000)

    async def feed(pipe: UploadPipe) -> None:
        for at in range(0, len(data), 65_536):
            await pipe.feed(data[at : at + 65_536])
        pipe.end()

    def work(pipe: UploadPipe) -> bytes:
        pieces = []
        while piece := pipe.read(100_000):
            assert len(piece) <= 100_000
            pieces.append(piece)
        assert pipe.read(1) == b""
        return b"".join(pieces)

    assert with_pipe(work, feed) == data
    assert with_pipe(lambda pipe: pipe.read(), feed) == data


def test_a_slow_reader_holds_the_client_back() -> None:
    fed: list[int] = []

    async def both() -> None:
        pipe = UploadPipe()

        async def feed() -> None:
            for _ in range(100):
                await pipe.feed(b"x" * (1 << 20))
                fed.append(1)
            pipe.end()

        feeding = asyncio.create_task(feed())
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(fed) < 8
        read = await asyncio.to_thread(lambda: len(pipe.read()))
        assert read == 100 << 20
        await feeding

    asyncio.run(both())


def test_a_client_that_leaves_breaks_the_reading() -> None:
    async def feed(pipe: UploadPipe) -> None:
        await pipe.feed(b"some")
        pipe.fail()

    with pytest.raises(UploadBroken, match="left"):
        with_pipe(lambda pipe: pipe.read(), feed)


def test_leaving_after_the_end_does_no_harm() -> None:
    async def feed(pipe: UploadPipe) -> None:
        await pipe.feed(b"all")
        pipe.end()
        pipe.fail()

    assert with_pipe(lambda pipe: pipe.read(), feed) == b"all"


def test_a_client_that_sends_nothing_for_long_is_given_up() -> None:
    async def feed(pipe: UploadPipe) -> None:
        await pipe.feed(b"some")

    with pytest.raises(UploadBroken, match="No byte"):
        with_pipe(lambda pipe: pipe.read(), feed, idle_seconds=0.05)


def test_a_reader_that_stops_lets_the_client_send_the_rest_into_nothing() -> None:
    async def feed(pipe: UploadPipe) -> None:
        for _ in range(50):
            await pipe.feed(b"x" * (1 << 20))
        pipe.end()

    def work(pipe: UploadPipe) -> int:
        read = len(pipe.read(10))
        pipe.stop()
        return read

    assert with_pipe(work, feed) == 10
