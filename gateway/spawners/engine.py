"""The Docker Engine API as coroutines: docker-py in bounded thread pools, errors translated.

docker-py blocks, so it is called here and nowhere else. What is asked of the engine is decided
in docker.py, network.py and images.py; nothing here knows of notebooks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, TypeVar

import docker
import docker.errors
import docker.utils
import requests
from docker import APIClient

from gateway.errors import EngineError, EngineUnavailable
from gateway.spawners.engine_stream import JsonStream
from gateway.spawners.engine_threads import Threads

T = TypeVar("T")
log = logging.getLogger(__name__)

DEADLINE = 30.0
_THREADS = 8
_SLOW_THREADS = 4
_LOCAL = "unix:///var/run/docker.sock"
_NO_NETWORK = re.compile(r"\bnetwork \S+ not found")

Headers = Callable[[Any], dict[str, str]]


def no_headers(client: Any) -> dict[str, str]:
    """Return none."""
    return {}


@dataclass(eq=False)
class EngineRefused(EngineError):
    """The engine answered with an error.

    Attributes:
        answer: the HTTP status of its answer.
        explanation: its own words, on one line.
    """

    answer: int
    explanation: str

    def __str__(self) -> str:
        return f"the container engine refused: {self.explanation}"

    @property
    def missing(self) -> bool:
        """Whether the thing that was asked about is not there."""
        return self.answer == HTTPStatus.NOT_FOUND

    @property
    def conflict(self) -> bool:
        """Whether a name is taken, or the thing is in a state that forbids the request."""
        return self.answer == HTTPStatus.CONFLICT

    @property
    def network_missing(self) -> bool:
        """Whether a container's network is what is not there."""
        return self.missing and bool(_NO_NETWORK.search(self.explanation))

    def says(self, *words: str) -> bool:
        """Tell whether the explanation has one of `words`; Docker has no error codes."""
        return any(word in self.explanation.lower() for word in words)


class Engine:
    """One Docker Engine.

    Calls that may take long by their nature (stop, logs, build) have threads of their own, so
    that they never keep starts waiting.
    """

    def __init__(self, address: str = "", deadline: float = DEADLINE) -> None:
        """Remember where the engine is; it is reached with the first call.

        Args:
            address: `unix://…` or `tcp://…`; "" means DOCKER_HOST and its TLS variables, else
                the local socket.
            deadline: seconds for a call that says nothing else.
        """
        self._deadline = deadline
        from_environment: dict[str, Any] = {**docker.utils.kwargs_from_env()}
        self._kwargs = {"base_url": address} if address else from_environment
        self.address: str = self._kwargs.get("base_url", _LOCAL)
        self._pool = Threads(_THREADS, "engine", _is_answer)
        self._slow = Threads(_SLOW_THREADS, "engine-slow", _is_answer)
        self._client: APIClient | None = None
        self._connecting: asyncio.Task[APIClient] | None = None
        self._streams: set[JsonStream] = set()

    async def call(
        self, ask: Callable[[Any], T], *, slow: bool = False, deadline: float | None = None
    ) -> T:
        """Run `ask` with the client in a thread and return what it returns.

        Args:
            ask: given the APIClient (whose types are incomplete); blocks; must bound its own
                requests where they may outlast DEADLINE.
            slow: whether it may take long by its nature.
            deadline: seconds until the caller is told that the engine does not answer, once a
                thread has taken it up; None for the engine's own.

        Raises:
            EngineRefused: the engine answered with an error.
            EngineUnavailable: it cannot be reached, or did not answer in time.
        """
        pool = self._slow if slow else self._pool
        client = self._client or await self._connect()
        return await self._run(pool, lambda: ask(self._there(client)), deadline or self._deadline)

    @contextlib.asynccontextmanager
    async def stream(
        self,
        method: str,
        path: str,
        params: dict[str, str],
        headers: Headers = no_headers,
        deadline: float | None = None,
    ) -> AsyncIterator[JsonStream]:
        """Give the JSON lines of an answer that goes on; entered, the engine has begun to answer.

        Args:
            method: of the request.
            path: below the version, e.g. `/events`.
            params: of the query.
            headers: returns more headers; called with the client in the stream's thread.
            deadline: seconds until the answer has to begin; None for the engine's own.

        Raises:
            EngineRefused, EngineUnavailable: also from the iterator, when the engine goes away.
        """
        client = self._client or await self._connect()
        bound = deadline or self._deadline

        def ask() -> requests.Response:
            url = f"{client.base_url}/v{client.api_version}{path}"
            more = headers(self._there(client))
            answer = client.request(
                method, url, params=params, headers=more, stream=True, timeout=bound
            )
            return checked(answer)

        stream = JsonStream(ask, self.address, f"engine{path.replace('/', '-')}")
        self._streams.add(stream)
        try:
            try:
                await stream.open(bound)
            except docker.errors.APIError as error:
                raise refusal(error) from error
            yield stream
        finally:
            self._streams.discard(stream)
            await stream.close()

    async def now(self) -> datetime:
        """Return the time by the engine's clock.

        Raises:
            EngineUnavailable, EngineRefused.
        """
        found = await self.call(lambda api: api.info())
        return datetime.fromisoformat(found["SystemTime"])

    async def close(self) -> None:
        """Let go of the engine. Calls under way end by themselves, streams are ended."""
        for stream in tuple(self._streams):
            await stream.close()
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait([self._connecting])
        self._pool.close()
        self._slow.close()
        if self._client is not None:
            self._client.close()
            self._client = None

    def _there(self, client: APIClient) -> APIClient:
        """Return the client of an engine that listens; see knock."""
        knock(self.address, self._deadline)
        return client

    async def _connect(self) -> APIClient:
        """Return the client, made once for all who wait: if it cannot be, all are told at once."""
        if self._connecting is None:
            made = self._run(self._pool, self._new_client, self._deadline)
            self._connecting = asyncio.create_task(made, name="engine-connect")
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        await asyncio.wait([connecting])
        if connecting.cancelled():  # closed meanwhile
            raise EngineUnavailable(self.address)
        return connecting.result()

    def _connected(self, made: asyncio.Task[APIClient]) -> None:
        self._connecting = None
        if not made.cancelled() and made.exception() is None:
            self._client = made.result()

    def _new_client(self) -> APIClient:
        """Return a client that speaks the engine's version of the API.

        docker-py's own `version="auto"` leaves its connection open when nobody answers.
        """
        timeout = math.ceil(self._deadline)
        knock(self.address, self._deadline)
        with contextlib.closing(APIClient(timeout=timeout, **self._kwargs)) as probe:
            version = probe.version(api_version=False)["ApiVersion"]
        return APIClient(version=version, timeout=timeout, **self._kwargs)

    async def _run(self, threads: Threads, ask: Callable[[], T], deadline: float) -> T:
        try:
            return await threads.run(ask, deadline)
        except docker.errors.APIError as error:
            raise refusal(error) from error
        except (
            docker.errors.DockerException,
            requests.exceptions.RequestException,
            OSError,
        ) as error:
            log.debug("engine call failed address=%s error=%s", self.address, error)
            raise EngineUnavailable(self.address) from error


def _is_answer(error: BaseException) -> bool:
    return isinstance(error, docker.errors.APIError)


def checked(answer: requests.Response) -> requests.Response:
    """Return an answer that is none of an error; its body is not read.

    Raises:
        docker.errors.APIError: the engine refused.
    """
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        with contextlib.closing(answer):
            docker.errors.create_api_error_from_http_exception(error)
    return answer


def knock(address: str, deadline: float) -> None:
    """Make sure that somebody listens on a local socket; docker-py loses its own where none does.

    Raises:
        OSError: nobody listens, or not within `deadline` seconds.
    """
    scheme, _, path = address.partition("://")
    if scheme in ("unix", "http+unix"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(deadline)
            probe.connect(f"/{path.lstrip('/')}")


def refusal(error: docker.errors.APIError) -> EngineRefused:
    """Return the engine's error answer as ours; bodies that are not JSON keep their status."""
    answer = error.status_code or int(HTTPStatus.INTERNAL_SERVER_ERROR)
    words = error.explanation if isinstance(error.explanation, str) else ""
    return EngineRefused(answer, " ".join((words or str(error)).split()))
