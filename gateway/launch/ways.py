"""What stands behind the links of an LMS, in one value: for the pages, and for the API."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.launch.bindings import Bindings
from gateway.launch.sessions import Sessions
from gateway.launch.shares import Shares
from gateway.launch.signed import SignedLinks
from gateway.spaces import Exercises, Reading, Spaces


@dataclass(frozen=True, slots=True)
class Ways:
    """See the module's docstring.

    Attributes:
        signed: makes and checks signed links.
        bindings: whose the ids of plain links are.
        spaces: where people's files are.
        exercises: brings a course's files there.
        reading: reads people's files, for others to look at.
        sessions: of people.
        shares: read-only copies that people share.
    """

    signed: SignedLinks
    bindings: Bindings
    spaces: Spaces
    exercises: Exercises
    reading: Reading
    sessions: Sessions
    shares: Shares

    async def release(self, project: str, student: str) -> bool:
        """Make the id of a plain link free again, and end the session that had it."""
        session = await self.bindings.release(project, student)
        if session is not None:
            await self.sessions.revoke(session)
        return session is not None

    async def expire(self) -> None:
        """Forget what is over."""
        await self.signed.keys.expire()
