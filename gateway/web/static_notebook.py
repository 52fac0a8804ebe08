"""A course's notebook as a page to read: no server, no script, nothing that its author can run.

Markdown is rendered without any HTML of its own, outputs as text or as images of two kinds that are
part of the file; all else is left out. The page's policy allows neither scripts nor foreign images.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from markdown_it import MarkdownIt

from gateway.web.render import page

_MOST_CELLS = 2000
# What its author can make slow: JSON with very many small parts, and prose that is taken apart, in
# which each row of a table is filled up to its width.
_MOST_MARKS = 400_000
_MARKS = (b'"', b"\\", b"[", b"{", b",")
_LONGEST_PROSE = 50_000
_MOST_PROSE = 200_000
_MOST_TABLE_CELLS = 20_000
_IMAGES = ("image/png", "image/jpeg")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a cell: text, or an image as a data URL; the other one is ""."""

    text: str = ""
    image: str = ""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell as the page shows it: prose, which is safe HTML, or code with its outputs."""

    prose: str | None = None
    code: str = ""
    outputs: list[Output] = field(default_factory=list)


def static_notebook(request: web.Request, file: str, content: bytes) -> web.Response:
    """Return the page for a file of a course."""
    return page(request, "static.html", file=file, cells=cells_of(file, content))


def cells_of(file: str, content: bytes) -> list[Cell]:
    """Return what is in a notebook, or in a file of Markdown or Python.

    Nothing for a notebook that is damaged, or of more parts than any has; prose that is very long
    is as it was written.
    """
    text, prose = content.decode("utf-8", "replace"), _Prose()
    if file.endswith(".md"):
        return [prose.cell(text)]
    if not file.endswith(".ipynb"):
        return [Cell(code=text)]
    if sum(map(content.count, _MARKS)) > _MOST_MARKS:
        return []
    try:
        found = json.loads(text, parse_int=_no_number, parse_float=_no_number)
    except (ValueError, RecursionError):
        return []
    cells = found.get("cells") if isinstance(found, dict) else None
    return [_cell(one, prose) for one in itertools.islice(_dicts(cells), _MOST_CELLS)]


def _no_number(_: str) -> int:
    """Return any: none is shown, and taking long ones apart holds the interpreter."""
    return 0


class _Prose:
    """Renders Markdown, of one page so much."""

    def __init__(self) -> None:
        self._left = _MOST_PROSE
        self._table_cells_left = _MOST_TABLE_CELLS

    def cell(self, text: str) -> Cell:
        """Return a cell of prose, rendered as long as that is quick."""
        table_cells = _table_cells(text)
        if len(text) > min(_LONGEST_PROSE, self._left) or table_cells > self._table_cells_left:
            return Cell(code=text)
        self._left -= len(text)
        self._table_cells_left -= table_cells
        # It escapes everything but its own tags, and drops links that could run something.
        html: str = _MARKDOWN.render(text)
        return Cell(prose=html)


def _table_cells(text: str) -> int:
    """Return how many cells there are in it at most, were it one table."""
    lines = text.split("\n")
    return len(lines) * max(line.count("|") for line in lines)


def _dicts(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _cell(cell: dict[str, Any], prose: _Prose) -> Cell:
    source = _text(cell.get("source"))
    if cell.get("cell_type") == "markdown":
        return prose.cell(source)
    outputs = [_output(one) for one in _dicts(cell.get("outputs"))]
    return Cell(code=source, outputs=[one for one in outputs if one.text or one.image])


def _output(output: dict[str, Any]) -> Output:
    data = output.get("data")
    if isinstance(data, dict):
        for kind in _IMAGES:
            if image := _image(data.get(kind)):
                return Output(image=f"data:{kind};base64,{image}")
        return Output(text=_text(data.get("text/plain")))
    traceback = output.get("traceback")
    lines = traceback if isinstance(traceback, list) else []
    text = _text(output.get("text")) or "\n".join(map(_text, lines))
    return Output(text=_ESCAPES.sub("", text))


def _image(value: object) -> str:
    try:
        raw = base64.b64decode("".join(_text(value).split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    return base64.b64encode(raw).decode("ascii")


def _text(value: object) -> str:
    if isinstance(value, list):
        return "".join(_text(one) for one in value if isinstance(one, str))
    # JSON may hold halves of characters, which no page can.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""
