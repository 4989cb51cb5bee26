"""A strict event-stream parser: the oracle of all tests.

Written from the WHATWG HTML standard, section 9.2.5 (parsing an event stream) and 9.2.6
(interpreting an event stream), because the client libraries at hand do not follow it. Steps are
quoted beside the code that takes them.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

# 9.2.5: "end-of-line = ( cr lf / cr / lf )". Not str.splitlines(), which knows many more.
LINE_END = re.compile(r"\r\n|\r|\n")
BOM = "\ufeff"


class StreamViolation(AssertionError):
    """Bytes that a client would survive, and that a careful server must not send."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """One dispatched event, as a page's listener sees it."""

    type: str
    data: str
    last_event_id: str


class EventStreamParser:
    """Turns bytes into events, however the bytes are cut into chunks.

    `comments` and `retries` collect what was seen so far, and `last_event_id` is what a client
    would send when it reconnects now. Start with the former connection's to go on from there.

    With `strict` it raises `StreamViolation` for a CR, a leading BOM, invalid UTF-8, a field that
    is unknown, given twice or of a value that clients ignore, a NUL in an event's type or id, an
    event without data, and at `close()` for a block that is cut off.
    """

    def __init__(self, *, strict: bool = False, last_event_id: str = "") -> None:
        self.strict = strict
        self.last_event_id = last_event_id
        self.comments: list[str] = []
        self.retries: list[int] = []
        # 9.2.5: "Streams must be decoded using the UTF-8 decode algorithm", which replaces what
        # is invalid, and strips one leading BOM.
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict" if strict else "replace")
        self._at_start = True
        self._after_cr = False
        self._line = ""
        self._id = last_event_id
        self._new_block()

    def _new_block(self) -> None:
        self._type = ""
        self._data: list[str] = []
        self._fields: set[str] = set()

    def feed(self, chunk: bytes) -> list[Parsed]:
        """Take the next bytes of the stream and return the events which they complete."""
        text = self._decode(chunk)
        # A line ends at its CR at once; an LF that follows, perhaps a chunk later, belongs to it.
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        if text.endswith("\r"):
            self._after_cr = True
        *lines, self._line = LINE_END.split(self._line + text)
        events = [self._take_line(line) for line in lines]
        return [event for event in events if event is not None]

    def close(self) -> None:
        """The stream has ended; a connection that goes on from it gets a parser of its own.

        9.2.6: "Once the end of the file is reached, any pending data must be discarded."
        """
        self._decode(b"", final=True)
        self._refuse_if(bool(self._line or self._fields), "the last block is cut off")

    def _decode(self, chunk: bytes, *, final: bool = False) -> str:
        self._refuse_if(b"\r" in chunk, "a CR")
        try:
            text = self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            raise StreamViolation(f"invalid UTF-8: {error}") from error
        if self._at_start and text:
            self._at_start = False
            self._refuse_if(text.startswith(BOM), "a leading BOM")
            text = text.removeprefix(BOM)
        return text

    def _take_line(self, line: str) -> Parsed | None:
        """9.2.6: the four cases of a line."""
        if not line:
            return self._dispatch()
        if line.startswith(":"):
            self.comments.append(line[1:])
        else:
            # "If value starts with a U+0020 SPACE character, remove it from value." Without a
            # colon the whole line is the field's name, and its value is empty.
            name, _, value = line.partition(":")
            self._take_field(name, value.removeprefix(" "))
        return None

    def _take_field(self, name: str, value: str) -> None:
        """9.2.6: "process the field"."""
        self._refuse_if(name in self._fields and name != "data", f"{name!r} twice in one block")
        self._refuse_if("\0" in value and name != "data", f"NUL in {name!r}")
        self._fields.add(name)
        match name:
            case "event":
                self._type = value
            case "data":
                self._data.append(value)
            case "id":
                # "If the field value does not contain U+0000 NULL, [...] Otherwise, ignore"
                if "\0" not in value:
                    self._id = value
            case "retry":
                # "If the field value consists of only ASCII digits"
                digits = value.isascii() and value.isdigit()
                self._refuse_if(not digits, f"retry of {value!r}")
                if digits:
                    self.retries.append(int(value))
            case _:
                self._refuse_if(True, f"unknown field {name!r}")

    def _dispatch(self) -> Parsed | None:
        """9.2.6: "dispatch the event", with its steps in their order."""
        # 1. The id counts even where there is no data, but only once its block is complete.
        self.last_event_id = self._id
        type_, data, fields = self._type, self._data, self._fields
        self._new_block()
        # 2. "If the data buffer is an empty string, set the data buffer and the event type buffer
        # to the empty string and return." One empty `data` line leaves an LF in it: that is data.
        if not data:
            self._refuse_if(bool(fields & {"event", "id"}), f"{sorted(fields)} without data")
            return None
        # 3. to 6. The data's last LF goes; an event without a type is a `message`.
        return Parsed(type_ or "message", "\n".join(data), self.last_event_id)

    def _refuse_if(self, bad: bool, what: str) -> None:
        if bad and self.strict:
            raise StreamViolation(what)


def parse(body: bytes, *, strict: bool = False) -> list[Parsed]:
    """The events of a whole body."""
    parser = EventStreamParser(strict=strict)
    events = parser.feed(body)
    parser.close()
    return events
