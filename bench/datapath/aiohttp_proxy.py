"""A plain proxy out of an aiohttp server and an aiohttp client: `… PORT PREFIX=PORT …`.

What one writes first; it streams both ways and relays WebSockets, and does nothing besides.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping

from aiohttp import (
    ClientSession,
    ClientTimeout,
    ClientWebSocketResponse,
    DummyCookieJar,
    TCPConnector,
    WSMsgType,
    web,
)

WebSocket = web.WebSocketResponse | ClientWebSocketResponse

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "host"}
_CLIENT: web.AppKey[ClientSession] = web.AppKey("client", ClientSession)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


async def _relay(request: web.Request, port: int) -> web.StreamResponse:
    url = f"http://127.0.0.1:{port}{request.rel_url}"
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return await _tunnel(request, url)
    async with request.app[_CLIENT].request(
        request.method,
        url,
        headers=_kept(request.headers),
        data=request.content if request.can_read_body else None,
        allow_redirects=False,
    ) as answer:
        response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response


async def _tunnel(request: web.Request, url: str) -> web.WebSocketResponse:
    downstream = web.WebSocketResponse(compress=False, max_msg_size=0)
    await downstream.prepare(request)
    async with request.app[_CLIENT].ws_connect(url, max_msg_size=0) as upstream:

        async def pump(source: WebSocket, to: WebSocket) -> None:
            async for message in source:
                if message.type is WSMsgType.TEXT:
                    await to.send_str(message.data)
                else:
                    await to.send_bytes(message.data)
            await to.close()

        await asyncio.gather(pump(downstream, upstream), pump(upstream, downstream))
    return downstream


async def serve(port: int, routes: dict[str, int]) -> None:
    """Serve until the process is ended."""
    app = web.Application(client_max_size=0)
    async with ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=None),
    ) as client:
        app[_CLIENT] = client
        for prefix, upstream in routes.items():

            async def handler(request: web.Request, upstream: int = upstream) -> web.StreamResponse:
                return await _relay(request, upstream)

            app.router.add_route("*", prefix + "/{rest:.*}", handler)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await asyncio.Event().wait()


def main() -> None:
    """Run the proxy."""
    parser = argparse.ArgumentParser(prog="python -m bench.datapath.aiohttp_proxy")
    parser.add_argument("port", type=int)
    parser.add_argument("routes", nargs="+", metavar="PREFIX=PORT")
    args = parser.parse_args()
    pairs = (route.split("=") for route in args.routes)
    asyncio.run(serve(args.port, {prefix: int(port) for prefix, port in pairs}))


if __name__ == "__main__":
    main()
