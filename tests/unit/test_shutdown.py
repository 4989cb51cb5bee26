"""The signal handler: a link in the server's own, and gone when it is no longer wanted."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from multistream_asgi.shutdown import watch


@pytest.fixture
def called() -> Iterator[list[str]]:
    """Handlers as a server sets them, which note their calls."""
    calls: list[str] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, lambda *_: calls.append("server"))
    yield calls
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_servers_handler_is_called_and_we_are_told(
    number: Any, called: list[str]
) -> None:
    told = anyio.Event()
    unwatch = watch(told.set)
    signal.raise_signal(number)
    with anyio.fail_after(10):
        await told.wait()
    assert called == ["server"]
    unwatch()


async def test_what_is_undone_is_as_before(called: list[str]) -> None:
    servers = signal.getsignal(signal.SIGTERM)
    unwatch = watch(lambda: called.append("us"))
    assert signal.getsignal(signal.SIGTERM) is not servers
    unwatch()
    assert signal.getsignal(signal.SIGTERM) is servers


async def test_a_handler_set_on_top_of_ours_still_works_when_we_are_gone(called: list[str]) -> None:
    told: list[str] = []
    unwatch = watch(lambda: told.append("us"))
    ours: Any = signal.getsignal(signal.SIGTERM)

    def later(*args: Any) -> None:
        called.append("later")
        ours(*args)

    signal.signal(signal.SIGTERM, later)
    unwatch()
    signal.raise_signal(signal.SIGTERM)
    assert called == ["later", "server"]
    assert told == []


async def test_two_that_are_undone_in_the_order_they_came_leave_nothing(called: list[str]) -> None:
    servers = signal.getsignal(signal.SIGTERM)
    first, second = watch(lambda: None), watch(lambda: None)
    first()
    second()
    assert signal.getsignal(signal.SIGTERM) is servers


async def test_the_chain_does_not_grow_while_at_any_time_somebody_watches(
    called: list[str],
) -> None:
    """As two managers do whose requests overlap; a long chain would end in a RecursionError."""
    unwatch = watch(lambda: None)
    for _ in range(2000):
        later = watch(lambda: None)
        unwatch()
        unwatch = later
    signal.raise_signal(signal.SIGTERM)
    assert called == ["server"]
    unwatch()


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN, signal.default_int_handler])
async def test_where_no_server_has_set_a_handler_nothing_is_touched(
    handler: Any, called: list[str]
) -> None:
    signal.signal(signal.SIGINT, handler)
    watch(lambda: None)()
    assert signal.getsignal(signal.SIGINT) is handler


async def test_outside_the_main_thread_nothing_is_touched(called: list[str]) -> None:
    servers = signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        watch(lambda: None)

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    thread.join(10)
    assert signal.getsignal(signal.SIGTERM) is servers


def test_an_event_loop_that_has_ended_is_no_error(called: list[str]) -> None:
    async def main() -> None:
        watch(lambda: None)

    anyio.run(main)
    signal.raise_signal(signal.SIGTERM)
    assert called == ["server"]
