"""The data path: downstream request → decision → upstream → back.

One connection of a client is a `Downstream` (downstream.py; its transport in connection.py, how
it ends in ending.py, while it is not read from in pauses.py), one to an upstream an `Upstream`
(upstream.py); both are asyncio protocols. Between them, for the time of one request, stands an
`Exchange` (exchange.py):

    client ⇄ Downstream ── Exchange ── Upstream ⇄ notebook, plain target, or our application
                 │            │            │
              head.py      headers.py   pool.py      head.py parses, framing.py finds the ends,
              framing.py   Gate         head.py      headers.py decides what passes

1. Downstream cuts a head out of the stream and asks `Gate.decide`. It is synchronous.
2. Relay to a pooled connection: the rebuilt head is written in the same call; no task, no timer.
   Else one task awaits the notebook or the connection, and joins the same path.
3. Bodies go through a tracker; what is relayed is what came. A side that reads slowly pauses the
   other side's reading; nothing is buffered beyond the transports' high-water marks.
4. The response's end gives the upstream back to the pool and the client's connection its next
   request. One request is answered at a time; what was pipelined waits as bytes.
5. After a 101 both transports change to a `Tunnel` (tunnel.py), which knows bytes only.

Most heads repeat what was read before: repeated.py recognises request headers that the same
connection has sent, and response lines that any upstream has sent; what follows from a request's
headers is kept in their `Standing` (messages.py). All else goes through head.py's grammar.

Pure modules, without I/O: messages, head, repeated, framing, headers, forwarded, activity,
answers.
obtaining.py has the only awaits of a request, deadline.py the timers, sockets.py what needs the
descriptor itself. interface.py is the seam to control; others construct ProxyServer alone.
"""
