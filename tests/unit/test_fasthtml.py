"""The FastHTML adapter: markup, escaping, rows, routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fasthtml.common import Beforeware, Div, FastHTML, NotStr, P, Safe, Span, Td, Tr, to_xml
from sse_starlette import ServerSentEvent
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from multistream_asgi import MultiStreamManager as Core
from multistream_asgi.fasthtml import (
    MultiStreamManager,
    OOBStreamBuilder,
    StreamEndpoint,
    create_multi_stream_row,
)


def manager_of(*names: str, **options: Any) -> MultiStreamManager:
    manager = MultiStreamManager(**options)
    for name in names:
        manager.register_endpoint(StreamEndpoint(name, f"_{name}"))
    return manager


@pytest.mark.parametrize(
    ("data", "markup"),
    [
        ("<img onerror=x>", "&lt;img onerror=x&gt;"),
        (b"<b>", "&lt;b&gt;"),
        ({"a": "<b>"}, '{"a":"&lt;b&gt;"}'),
        (Safe("<b>x</b>"), "<b>x</b>"),
        (NotStr("<b>x</b>"), "<b>x</b>"),
        ([NotStr("<b>x</b>"), "<"], "<b>x</b>&lt;"),
        (Div("<b>"), "<div>&lt;b&gt;</div>"),
        ([Td("a"), Td("<")], "<td>a</td><td>&lt;</td>"),
        (["<", Span("x")], "&lt;<span>x</span>"),
        ([1, 2], "[1,2]"),
        (3, "3"),
    ],
)
def test_text_is_escaped_and_markup_is_not(data: Any, markup: str) -> None:
    rendered, name = MultiStreamManager.render(data)
    assert rendered == markup
    assert name is None


@pytest.mark.parametrize(
    ("data", "markup"), [(Div("<"), "<div>&lt;</div>"), ("<b>", "&lt;b&gt;"), (None, "")]
)
def test_what_lies_in_a_server_sent_event_is_rendered_alike(data: Any, markup: str) -> None:
    event = ServerSentEvent(data, event="tick")
    assert MultiStreamManager.render(event) == (markup, "tick")


def test_a_row_takes_a_wrapper_that_puts_its_element_into_another() -> None:
    for active in (True, False):
        cell = create_multi_stream_row(
            manager_of("log"),
            "a",
            [{"name": "log", "wrapper": lambda *c, **kw: Td(Div(*c, **kw))}],
            lambda _, elements: elements["log"],
            active,
        )
        assert 'id="a-log"' in to_xml(cell)


def test_an_elements_id_is_percent_encoded_in_its_address() -> None:
    element = manager_of("log").create_element('a b&c="<#>', "log")
    assert element.attrs["sse-connect"] == "/stream_log?id=a%20b%26c%3D%22%3C%23%3E"


def test_given_attributes_win() -> None:
    element = manager_of("log").create_element("a", "log", "x", Td, sse_swap="other", cls="c")
    assert element.tag == "td"
    assert element.attrs["sse-swap"] == "other"
    assert element.attrs["class"] == "c"
    assert element.attrs["id"] == "x"


def test_one_connection_and_its_cells() -> None:
    manager = manager_of("progress", "log")
    cell = manager.create_cell("job 1", "progress", "0 %", wrapper=Td)
    page = manager.create_connection(["job 1", 2], cell, streams=["progress", "log"])
    assert page.attrs["sse-connect"] == "/stream?id=job%201&id=2&stream=progress&stream=log"
    assert page.attrs["sse-close"] == "close"
    assert page.children == (cell,)
    assert cell.attrs["sse-swap"] == "progress:job%201"
    assert cell.attrs["id"] == "job_201-progress"
    assert cell.children == ("0 %",)
    ended = manager.create_cell("job 1", "progress", "100 %", wrapper=Td, active=False)
    assert ended.attrs == {"id": "job_201-progress"}


def test_no_entities_open_no_connection() -> None:
    page = manager_of("log").create_connection([], P("nothing"))
    assert "sse-connect" not in page.attrs


@pytest.mark.parametrize("content", [0, "", "text", ["a", "b"]])
def test_a_row_keeps_its_content_active_or_not(content: Any) -> None:
    """Falsy content too; and an inactive cell keeps the id that an active one has."""
    manager = manager_of("log")
    for active in (True, False):
        cell = create_multi_stream_row(
            manager,
            "job1",
            [{"name": "log", "initial_content": content, "wrapper": Td}],
            lambda _, elements: elements["log"],
            active,
        )
        assert cell.children == tuple(content if isinstance(content, list) else [content])
        assert cell.attrs["id"] == "job1-log"
        assert ("sse-connect" in cell.attrs) is active


def test_a_row_within_one_connection_opens_none() -> None:
    row = create_multi_stream_row(
        manager_of("log"),
        "job1",
        [{"name": "log", "wrapper": Td}],
        lambda _, elements: Tr(elements["log"]),
        one_connection=True,
    )
    assert "sse-connect" not in to_xml(row)
    assert 'sse-swap="log:job1"' in to_xml(row)


def test_a_rows_cell_takes_more_children_later() -> None:
    """The notebook set `children` to a list, and then a call of the element failed."""
    cell = create_multi_stream_row(
        manager_of("log"), "a", [{"name": "log", "initial_content": "x"}], lambda _, e: e["log"]
    )
    assert cell("y").children == ("x", "y")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_out_of_band_elements_come_as_one_kind_of_thing(count: int) -> None:
    builder = OOBStreamBuilder()
    builder.add_elements([(Span(str(i)), f"t{i}") for i in range(count)])
    built = builder.build()
    assert isinstance(built, type(Div()))
    markup, _ = MultiStreamManager.render(built)
    assert markup.count("hx-swap-oob") == count
    assert "data:" not in markup
    assert not markup or markup.startswith("<div")


def test_out_of_band_elements_that_carry_their_swap_themselves() -> None:
    row = Tr(Td("x"))
    built = OOBStreamBuilder().add_element(row, "r1", "outerHTML").build()
    assert 'id="r1"' in to_xml(built)
    assert 'hx-swap-oob="outerHTML"' in to_xml(built)
    assert "id" not in row.attrs, "the caller's element is left as it was"
    with pytest.raises(TypeError, match="element"):
        OOBStreamBuilder().add_element("text", "r1", wrap=False)


def get(app: Any, path: str, method: str = "GET") -> Any:
    return TestClient(app).request(method, path)


def test_routes_serve_every_stream_also_those_registered_later() -> None:
    manager = MultiStreamManager()
    app = FastHTML(secret_key="x")
    manager.setup_routes(app, lambda id: {"id": id}, lambda entity: True)

    @manager.stream("late")
    async def late(entity_id: str) -> AsyncIterator[str]:
        yield f"<{entity_id}>"

    answer = get(app, "/stream_late?id=a")
    assert "data: &lt;a&gt;" in answer.text
    assert "event: close" in answer.text
    many = get(app, "/stream?id=a&id=b")
    assert "event: late:a" in many.text
    assert "event: late:b" in many.text
    assert get(app, "/stream_late?id=a", "POST").status_code == 405
    assert get(app, "/stream_late").status_code == 400


def test_routes_lie_behind_the_apps_beforeware() -> None:
    def check(request: Request) -> Any:
        return PlainTextResponse("no", 401)

    app = FastHTML(secret_key="x", before=Beforeware(check))
    manager_of("log").setup_routes(app, lambda id: {}, lambda entity: True)
    assert get(app, "/stream_log?id=a").status_code == 401


def test_a_handler_serves_its_stream_under_any_path() -> None:
    """The final form of an inactive entity, from the functions given to the handler."""
    manager = MultiStreamManager()
    manager.register_endpoint(
        StreamEndpoint(
            "status",
            "_status",
            transform_fn=lambda data, **kwargs: P(data["state"], kwargs["final"]),
        )
    )
    app = FastHTML(secret_key="x")
    handler = manager.create_handler("status", lambda id: {"state": "over"}, lambda entity: False)
    app.route("/elsewhere", methods=["GET"])(handler)
    answer = get(app, "/elsewhere?id=a")
    assert "data: <p>overTrue</p>" in answer.text
    assert "event: close" in answer.text
    with pytest.raises(ValueError, match="Unknown stream"):
        manager.create_handler("nothing")


def test_the_adapter_is_the_core_manager() -> None:
    assert issubclass(MultiStreamManager, Core)
