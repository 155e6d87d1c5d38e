"""Asks another program by HTTP whether somebody may publish or watch: [admission]."""

from __future__ import annotations

import asyncio
import json
import logging
from types import TracebackType
from typing import NoReturn, Self

import aiohttp

from live777py.clients import posting
from live777py.clients.complaints import Complaints
from live777py.clients.posting import NoReply, Reply
from live777py.config import Admission
from live777py.core.access import Client, Grant
from live777py.core.model import Role
from live777py.errors import Denied, Unavailable

logger = logging.getLogger(__name__)

#: Questions that may be under way, and those that may wait for that.
UNDER_WAY = 64
WAITING = 1024

#: Statuses that refuse; all others beside 2xx say that the other side does not work.
REFUSALS = frozenset({401, 403})


class Refused(Denied):
    """The other side refused it; the message is its own where it gave one."""

    code = "admission_refused"

    def __init__(self, message: str) -> None:
        super().__init__(message or "refused by the admission webhook")


class Undecided(Unavailable):
    """The other side gave no answer that decides."""

    code = "admission_undecided"

    def __init__(self) -> None:
        super().__init__(
            "whoever decides who may publish and watch does not answer: try again later"
        )


class AdmissionWebhook:
    """Asks one URL, as `core.access.Admission`.

    `async with AdmissionWebhook(config) as admission:`; `admit` may be called concurrently.
    """

    def __init__(self, config: Admission) -> None:
        self._config = config
        self._secret = config.secret.get_secret_value()
        self._complaints = Complaints(
            logger, f"admission webhook {posting.origin(config.url)}"
        )
        self._slots = asyncio.Semaphore(UNDER_WAY)
        self._asking = 0
        self._admitted = 0
        self._refused = 0
        self._undecided = 0
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = await posting.client().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._complaints.close()
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def admit(
        self, role: Role, stream: str, grant: Grant, client: Client
    ) -> None:
        """Ask.

        Raises:
            Refused: the answer was no.
            Undecided: there was no answer, and the configuration does not admit then.
        """
        question = {
            "action": role.value,
            "stream": stream,
            "holder": grant.holder,
            "address": client.address,
            "userAgent": client.user_agent,
        }
        try:
            reply = await self._ask(json.dumps(question).encode())
        except NoReply as error:
            self._undecidable(str(error))
            return
        if reply.is_success:
            self._admitted += 1
        elif reply.status in REFUSALS:
            self._refused += 1
            raise Refused(message(reply))
        else:
            self._undecidable(str(reply))

    def counters(self) -> dict[str, int]:
        """How the questions were answered; `undecided` are those that were not."""
        return {
            "admitted": self._admitted,
            "refused": self._refused,
            "undecided": self._undecided,
            "asking": self._asking,
        }

    async def _ask(self, body: bytes) -> Reply:
        if self._http is None:
            raise RuntimeError("used outside of its block")
        if self._asking >= UNDER_WAY + WAITING:
            self._overloaded()
        self._asking += 1
        try:
            try:
                async with asyncio.timeout(self._config.timeout):
                    await self._slots.acquire()
            except TimeoutError:
                self._overloaded()
            try:
                return await posting.post(
                    self._http,
                    self._config.url,
                    body,
                    secret=self._secret,
                    timeout=self._config.timeout,
                )
            finally:
                self._slots.release()
        finally:
            self._asking -= 1

    def _undecidable(self, problem: str) -> None:
        self._undecided += 1
        if self._config.on_error == "admit":
            self._complaints.add(f"{problem}; admitted by on_error")
            return
        self._complaints.add(problem)
        raise Undecided

    def _overloaded(self) -> NoReturn:
        # Whatever on_error says: else whoever asks often enough would be let in unasked.
        self._undecided += 1
        self._complaints.add(f"more questions than answers: {self._asking} wait")
        raise Undecided


def message(reply: Reply) -> str:
    """What a refusal says: `message` of a JSON object, or plain text; "" for all else."""
    if reply.media_type == "text/plain":
        return posting.printable(reply.text)
    try:
        value = json.loads(reply.text)
    except (ValueError, RecursionError):
        return ""
    said = value.get("message") if isinstance(value, dict) else None
    return posting.printable(said) if isinstance(said, str) else ""
