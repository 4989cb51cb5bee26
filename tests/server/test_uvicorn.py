"""Behind real uvicorns: shutdown, disconnects, stuck readers, resuming."""

from __future__ import annotations

import json
import signal
import socket
import struct
from contextlib import ExitStack

import httpx
import pytest

from .uvicorn import Client, Server, serving, until

pytestmark = pytest.mark.server


def state(server: Server) -> dict[str, object]:
    answer: dict[str, object] = httpx.get(f"{server.url}/state").json()
    return answer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("app", "path", "options"),
    [
        ("wrapped", "/stream", ["--loop", "uvloop", "--http", "httptools"]),
        ("wrapped", "/stream", ["--loop", "asyncio", "--http", "h11", "--lifespan", "off"]),
        ("alone", "/stream", []),
        ("mounted", "/live/stream", []),
    ],
)
def test_a_signal_ends_every_stream_with_a_farewell(
    number: int, app: str, path: str, options: list[str]
) -> None:
    """Every viewer gets it, every source is closed, and the process is gone within 2 s."""
    with ExitStack() as stack:
        server = stack.enter_context(serving(app, *options))
        clients = [
            stack.enter_context(Client(f"{server.url}{path}_ticks?id=a")),
            stack.enter_context(Client(f"{server.url}{path}_ticks?id=a")),
            stack.enter_context(
                Client(f"{server.url}{path}?id=b&id=c&stream=ticks&stream=blocking")
            ),
        ]
        for client in clients:
            client.next()
        assert server.stop(number) < 2
        for client in clients:
            farewell = client.rest()[-1]
            assert (farewell.type, farewell.data) == ("shutdown", "bye")
            assert client.error is None, "the response ended as it should"
            assert client.parser.retries[-1] >= 100
        log = "".join(server.log)
        for topic in ("ticks:a", "ticks:b", "ticks:c", "blocking:b", "blocking:c"):
            assert log.count(f"closed {topic};") == 1, log
        assert "Traceback" not in log


def test_a_source_that_blocks_for_ever_does_not_keep_the_process_alive() -> None:
    with serving("wrapped") as server, Client(f"{server.url}/stream_stuck?id=a") as client:
        client.next()
        assert server.stop() < 2
        assert client.rest()[-1].type == "shutdown"


def test_workers_end_their_streams_too() -> None:
    with ExitStack() as stack:
        server = stack.enter_context(serving("wrapped", "--workers", "2"))
        client = stack.enter_context(Client(f"{server.url}/stream_ticks?id=a"))
        client.next()
        assert server.stop() < 2.5, "the parent looks after its workers every half second"
        assert client.rest()[-1].type == "shutdown"


def test_the_first_bytes_come_at_once_and_headers_are_those_of_a_stream() -> None:
    with serving("wrapped") as server:
        with Client(f"{server.url}/stream_short?id=a") as client:
            assert client.response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert client.response.headers["cache-control"] == "no-store, no-transform"
            assert client.response.headers["x-accel-buffering"] == "no"
            assert [event.data for event in client.rest()] == ["0", "1", "2", "done"]
        head = httpx.head(f"{server.url}/stream_ticks?id=a")
        assert head.status_code == 200
        assert head.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert state(server)["viewers"] == 0
        assert state(server)["closed"] == []


def leave_with_fin(client: Client) -> None:
    client.close()


def leave_with_rst(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


@pytest.mark.parametrize("leave", [leave_with_fin, leave_with_rst])
def test_when_the_last_viewer_has_gone_the_source_is_closed(leave: object) -> None:
    assert callable(leave)
    with serving("wrapped", "--http", "h11" if leave is leave_with_fin else "httptools") as server:
        client = Client(f"{server.url}/stream_ticks?id=a")
        client.next()
        leave(client)
        until(lambda: state(server) == {"topics": 0, "viewers": 0, "closed": ["a"]}, "the close")


def test_a_cursor_goes_on_without_loss_or_double() -> None:
    """Ten cuts, by header and by query in turn, and the numbers have no seam."""
    with ExitStack() as stack:
        server = stack.enter_context(serving("wrapped"))
        url = f"{server.url}/stream_ticks?id=a"
        # Somebody else stays, so that the source does not close in a pause of a busy machine.
        stack.enter_context(Client(url)).next()
        seen: list[int] = []
        last_id = ""
        for cut in range(10):
            headers = {"last-event-id": last_id} if last_id and cut % 2 else {}
            after = f"&after={last_id}" if last_id and not cut % 2 else ""
            with Client(url + after, headers) as client:
                for _ in range(4):
                    event = client.next()
                    assert event.type == "message"
                    seen.append(int(event.data))
                    last_id = event.last_event_id
        assert seen == list(range(seen[0], seen[0] + 40))


def test_after_a_restart_the_old_cursor_is_answered_with_a_reset() -> None:
    with serving("wrapped") as server, Client(f"{server.url}/stream_ticks?id=a") as client:
        cursor = client.next().last_event_id
    with ExitStack() as stack:
        server = stack.enter_context(serving("wrapped"))
        url = f"{server.url}/stream_ticks?id=a"
        client = stack.enter_context(Client(url, {"last-event-id": cursor}))
        reset = client.next()
        assert reset.type == "reset"
        assert json.loads(reset.data) == {"reason": "epoch", "topics": ["ticks:a"]}
        assert client.next().data == "0"


def test_a_viewer_that_reads_nothing_delays_nobody_and_is_dropped() -> None:
    request = b"GET /stream_big?id=a HTTP/1.1\r\nhost: x\r\n\r\n"
    with ExitStack() as stack:
        server = stack.enter_context(serving("wrapped"))
        stuck = stack.enter_context(server.connect())
        reading = stack.enter_context(server.connect())
        stuck.sendall(request)
        reading.sendall(request)
        until(lambda: state(server)["viewers"] == 2, "both viewers")
        received = 0
        while state(server)["viewers"] == 2:
            received += len(reading.recv(1 << 20))
        assert received > 10 * 200_000, "the other viewer got its events meanwhile"
        assert reading.recv(1 << 20), "and still does"


def test_nothing_is_logged_as_an_error_when_clients_come_and_go() -> None:
    with serving("wrapped") as server:
        for _ in range(20):
            with Client(f"{server.url}/stream_ticks?id=a") as client:
                client.next()
        until(lambda: state(server)["viewers"] == 0, "nobody left")
        server.stop()
        assert "ERROR" not in "".join(server.log), "".join(server.log)
