"""Who may show a notebook in a frame: of its answers, that one directive is the gateway's. Pure.

The first `frame-ancestors` of Content-Security-Policy is rewritten, or one is added. Further ones
go: all policies are in force, so that once is enough, and an answer grows by one of ours at most.
All else in there is the notebook's. X-Frame-Options goes: where both are, browsers heed the
directive alone (CSP 3, 6.4.2.2). Report-only policies keep nobody out, and stay as they are.
"""

from __future__ import annotations

from typing import Final

from gateway.proxy.fields import Field

_POLICY: Final = b"content-security-policy"
_OPTIONS: Final = b"x-frame-options"
_DIRECTIVE: Final = b"frame-ancestors"
_MOST: Final = 1024
_LONGEST: Final = 4096


class FrameRules:
    """Rewrites header lines, and remembers what became of them: servers repeat theirs."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, bytes], bytes] = {}

    def head_with(self, ancestors: str, plain: bytes, told: bytes) -> bytes:
        """Return a plain head (see ResponseHead) with who may frame it.

        Args:
            ancestors: the value of the directive.
            plain: status line and header lines, each with its end.
            told: the one line among them that says it now; b"" where none does.
        """
        line = self._line_for(ancestors, told)
        if line == told:
            return plain
        if not told:
            return b"%b%b\r\n" % (plain, line)
        return plain.replace(b"\r\n%b\r\n" % told, b"\r\n%b\r\n" % line, 1)

    def _line_for(self, ancestors: str, told: bytes) -> bytes:
        """Return the lines that stand in the place of one, without the last one's end."""
        key = (ancestors, told)
        known = self._known.get(key)
        if known is None:
            name, _, value = told.partition(b":")
            fields = framed([(name, value.strip(b" \t"))] if told else [], ancestors)
            known = b"\r\n".join([b"%b: %b" % field for field in fields])
            if len(self._known) >= _MOST:
                self._known.clear()
            if len(told) <= _LONGEST:  # a notebook chooses its line
                self._known[key] = known
        return known


def framed(fields: list[Field], ancestors: str) -> list[Field]:
    """Return a response's header fields with `ancestors` as who may frame it."""
    directive = b"%b %b" % (_DIRECTIVE, ancestors.encode())
    kept, has_one = [], False
    for name, value in fields:
        low = name.lower()
        if low == _POLICY:
            rewritten = _rewritten(value, b"" if has_one else directive)
            if rewritten is None:
                kept.append((name, value))
            elif rewritten:
                kept.append((name, rewritten))
            has_one = has_one or rewritten is not None
        elif low != _OPTIONS:
            kept.append((name, value))
    return kept if has_one else [*kept, (b"Content-Security-Policy", directive)]


def _rewritten(value: bytes, directive: bytes) -> bytes | None:
    """Return a header's policies with the directive in place of the first of theirs, b"" for none.

    What they say more of it is left out. None if none of them has it.

    Commas part policies and semicolons directives, also within quotes: that is how browsers read
    them (CSP 3, 2.2.1 and 2.2.2).
    """
    policies, found = [], False
    for policy in value.split(b","):
        directives = []
        for one in policy.split(b";"):
            words = one.split(None, 1)
            if words and words[0].lower() == _DIRECTIVE:
                found = True
                if directive:
                    blanks = one[: len(one) - len(one.lstrip())]
                    directives.append(blanks + directive)
                    directive = b""
            else:
                directives.append(one)
        policies.append(b";".join(directives))
    return b",".join(policies).strip(b" \t") if found else None
