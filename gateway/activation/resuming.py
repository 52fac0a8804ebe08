"""What a gateway that has ended had begun: stops and removals are carried on by the next one."""

from __future__ import annotations

from typing import Any

from gateway.activation.adoption import Adoption
from gateway.activation.operations import Kind, Operation
from gateway.activation.stopping import Stopping
from gateway.errors import NotFound


class Resuming(Stopping, Adoption):
    """Does the rest of operations that were taken over."""

    def carry_on(self, left: Operation) -> None:
        """Begin to do the rest of an operation; see Operations.take_over."""
        self.operations.carry_on(left, self._carry_on)

    async def _carry_on(self, left: Operation) -> None:
        try:
            await self._rest_of(left)
        except NotFound:
            return  # that was the last thing that it did
        finally:
            # Adoption has left the notebook to us.
            await self.settle(left.slug, anew=True)

    async def _rest_of(self, left: Operation) -> None:
        who: dict[str, Any] = {"by": left.requested_by, "reason": left.reason, "planned": left}

        async def still() -> bool:
            """Nobody has started it again since."""
            server = await self._spawner.inspect(left.slug)
            since = None if server is None else server.started
            return since is None or since <= left.created

        if left.kind is Kind.STOP:
            await self.stop_container(left.slug, still=still, **who)
        elif left.kind is Kind.REMOVE:
            await self.remove_container(left.slug, **who)
        elif self._catalogue.notebook(left.slug).created <= left.created:
            await self.delete(left.slug, purge_space=left.kind is Kind.PURGE, **who)
