"""`nbgate project links --check`: open each link of a course as a student's browser does.

Somebody of its own opens them, through the public address, and waits as the waiting page does. The
server is started once, by the first link; the person, with server and files, is removed at the end.
"""

from __future__ import annotations

import contextlib
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlsplit

from gateway.cli.browser import Answer, Browser, NotReached
from gateway.cli.client import Client, part
from gateway.cli.failures import CommandError
from gateway.cli.output import say

_REMOVE_TIMEOUT = 60.0
_WAITING = re.compile(r'<section id="waiting"[^>]*?data-slug="([a-z0-9-]+)"', re.DOTALL)
_OF_JUPYTER = ("jupyter-config-data", "data-base-url")
_LOOK_AGAIN = 0.4
_PER_PLACE = 0.03
_LONGEST_PAUSE = 5.0
_COLD = 1.5
_NO_PLACE = frozenset((409, 429, 503))


class Hopeless(Exception):
    """What is wrong with one link, and will be with all others too."""


class LinkCheck:
    """Opens the links of one course.

    Args:
        client: of the gateway.
        project: the course's name.
        timeout: seconds that the server may take to be up.
    """

    def __init__(self, client: Client, project: str, timeout: float) -> None:
        self._client = client
        self._checks = f"projects/{part(project)}/link-checks"
        self._timeout = timeout
        self._browser = Browser()
        self._person = ""

    def run(self, tell: Callable[[str, str], None]) -> bool:
        """Open all links, then remove what that has made, also when it is interrupted.

        Args:
            tell: told of each notebook and what is wrong with its link; "" if it opens.

        Returns:
            Whether all is well: each link opens, and nothing of the check is left.

        Raises:
            CommandError: the gateway does not begin a check; see Client.call.
        """
        with _ended_by_terminating():
            begun = self._client.post(self._checks)
            self._person = begun["person"]
            try:
                well = self._open_all(begun["links"], tell)
            finally:
                cleared = self._clear()
            return well and cleared

    def _open_all(self, links: list[dict[str, Any]], tell: Callable[[str, str], None]) -> bool:
        well, hopeless = True, ""
        for link in links:
            fault = link["fault"] or hopeless
            if not fault:
                try:
                    fault = self._fault(link)
                except Hopeless as error:
                    fault = hopeless = str(error)
            tell(link["file"], fault)
            well = well and not fault
        return well

    def _clear(self) -> bool:
        """Remove who opened the links; return whether that was done."""
        path = f"{self._checks}/{part(self._person)}"
        try:
            self._client.call("DELETE", path, timeout=_REMOVE_TIMEOUT)
        except CommandError as error:
            if isinstance(error.__cause__, TimeoutError):
                # A start that is under way ends first; the gateway does not need us for the rest.
                say(f"{self._person!r}, who opened the links, is still being removed")
                return True
            say(
                f"{self._person!r}, who opened the links, is not removed: {error}; a check of this "
                f"course in two hours or later does it, or `nbgate student delete`"
            )
            return False
        return True

    def _fault(self, link: dict[str, Any]) -> str:
        try:
            answer = self._up(self._browser.page(link["url"]))
            fault = _of_page(answer, link)
            return fault or self._of_file(answer.url, link)
        except NotReached as error:
            raise Hopeless(f"not reached: {error}") from error

    def _of_file(self, url: str, link: dict[str, Any]) -> str:
        """Return what Jupyter's files say of a notebook whose page is at `url`."""
        base, file = url.partition("?")[0].removesuffix(link["place"]), link["file"]
        contents = f"{base}api/contents/{quote(file)}?content=0"
        answer = self._browser.call(contents)
        if answer.status == 200 and answer.json.get("path") == file:
            return ""
        return f"its page opens, but Jupyter's files answer {answer.told}"

    def _up(self, answer: Answer) -> Answer:
        """Return what the page is when the notebook's server is up."""
        end, vain = time.monotonic() + self._timeout, 0
        while (found := _WAITING.search(answer.text)) and answer.status != 200:
            if answer.status != 503:
                raise Hopeless(_without_place(answer))
            self._wait(answer.url, found[1], end)
            time.sleep(min(_LONGEST_PAUSE, 0.1 * 2**vain) if vain else 0)
            answer, vain = self._browser.page(answer.url), vain + 1
        return answer

    def _wait(self, url: str, slug: str, end: float) -> None:
        """Wait until the page is to be loaded again, by what the gateway tells waiting pages."""
        parts = urlsplit(url)
        status = f"{parts.scheme}://{parts.netloc}/gateway/status/{slug}"
        told: dict[str, Any] = {}
        while time.monotonic() < end:
            answer = self._browser.call(status)
            if answer.status not in (200, 502, 503):
                return  # the page tells
            told = answer.json
            if told.get("failed"):
                raise Hopeless(self._why(slug, str(told.get("reason"))))
            if told.get("phase") == "ready":
                return
            if told.get("phase") == "cold":
                time.sleep(_COLD)
                return
            place = int(told.get("position") or 0)
            time.sleep(min(_LONGEST_PAUSE, _LOOK_AGAIN + _PER_PLACE * place))
        raise Hopeless(
            f"the server was not up within {self._timeout:g} s ({told.get('step', 'no answer')}); "
            f"allow more with --timeout, or see the gateway's log"
        )

    def _why(self, slug: str, reason: str) -> str:
        """Return why a server did not start, in full, as operators may know it."""
        failure = None
        with contextlib.suppress(CommandError):
            failure = self._client.get(f"notebooks/{part(slug)}")["failure"]
        for line in failure["log_tail"].splitlines() if failure else ():
            say(f"  | {line}")
        return f"the server did not start: {failure['reason'] if failure else reason}"


def _of_page(answer: Answer, link: dict[str, Any]) -> str:
    """Return what is wrong with what a link has led to."""
    where = answer.url.partition("?")[0]
    if answer.status in _NO_PLACE:
        raise Hopeless(_without_place(answer))
    if answer.status >= 500:
        raise Hopeless(answer.told)
    if answer.status != 200:
        return answer.told
    if not where.endswith(f"/{link['place']}"):
        return f"opens {where} instead"
    if not any(mark in answer.text for mark in _OF_JUPYTER):
        return f"no page of Jupyter: {answer.said or where}; is the project's image a notebook's?"
    return ""


def _without_place(answer: Answer) -> str:
    return f"{answer.told}; check again later"


@contextlib.contextmanager
def _ended_by_terminating() -> Iterator[None]:
    """Have the signals that end a command end it as Ctrl-C does: what it made is removed."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {one: signal.signal(one, interrupt) for one in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
