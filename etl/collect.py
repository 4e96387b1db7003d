"""The collector: events of any source over HTTP, answered only when they are durable."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import msgspec
import psycopg
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from dialer.clock import Clock
from dialer.log import Sparse
from dialer.settings import EVENT_MEMORY, Settings
from dialer.storage.direct import Connections
from etl import body, books, openapi
from etl.access import Access, Token, Unauthorised
from etl.answer import Answer, Problem, Rejected
from etl.body import Refusal
from etl.intake import LAND_S, Intake, Stored, Unavailable
from etl.landing import Batch
from etl.metrics import DEAD, EVENTS, REQUESTS, Metrics
from etl.quota import SOON_S, OverQuota, Quotas
from etl.spool import Spool
from etl.wire import Event, Letter, read_lines, terms_of

log = logging.getLogger(__name__)

KEEP_S = 1.0
"""Between two looks at what collectors share: so long a revoked token is good, and so long PostgreSQL may be back."""
MOST_CONNECTIONS = 1000
"""Beyond them senders are told to come again; who watches is answered still."""
_SLICE = 500
"""Lines that are read before others have their turn."""
_JSON = "application/json"


class Collector:
    """One process: its routes, what it knows of tokens and quotas, and its way to PostgreSQL."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._limits, self._clock = settings.collect, clock
        self._connections = Connections(settings, most=4)
        self._access = Access(settings.mac_key())
        self._quotas = Quotas(settings.collect, clock.monotonic)
        self._terms = terms_of(settings.collect)
        self._metrics = Metrics()
        self._spool = Spool(settings.collect_dir, settings.collect.spool_size)
        self._intake = Intake(self._connections, self._spool, self._terms, self._metrics)
        self._sparse = Sparse(log, clock)
        self.connections: Callable[[], int] = lambda: 0
        """How many there are now; whoever serves the application knows."""

    def app(self) -> Starlette:
        """The ASGI application; its lifespan reads and writes until it is left."""
        return Starlette(
            routes=[
                Route("/v1/events", self._answered(self._events), methods=["POST"]),
                Route("/healthz", self._alive),
                Route("/readyz", self._ready),
                Route("/metrics", self._counts),
                Route("/openapi.json", self._described),
            ],
            lifespan=self._lifespan,
        )

    # -- POST /v1/events -----------------------------------------------------------------------------------------------

    async def _events(self, request: Request) -> Response:
        now = self._clock.now()
        if self.connections() > MOST_CONNECTIONS:
            raise Refusal(503, "crowded", f"more than {MOST_CONNECTIONS} connections", SOON_S)
        token = self._identified(request)
        media = body.check_form(request.headers.get("content-type", ""), request.headers.get("content-encoding", ""))
        self._check_disk(token.tenant_id)
        self._quotas.admit(token.tenant_id, now)
        held = 0

        def grow(size: int) -> None:
            nonlocal held
            self._quotas.grow(token.tenant_id, size)
            held += size

        try:
            lines = await self._lines(request, token, media, grow)
            grow(len(lines) * EVENT_MEMORY)
            batch = await self._batch(lines, token, now)
            stored = await self._intake.put(batch)
            self._quotas.charge(token.tenant_id, now, len(lines), sum(map(len, lines)))
            return self._told(batch, stored)
        finally:
            self._quotas.shrink(token.tenant_id, held)

    def _check_disk(self, tenant_id: str) -> None:
        if not self._intake.away:
            return
        if self._spool.full:
            raise Refusal(503, "full", "the database is away and the disk has no room for more", retry_after_s=10)
        if self._access.shared and self._intake.spooled(tenant_id) >= self._limits.spool_size // 2:
            raise Refusal(429, "full", "the database is away and this tenant has half of the disk", retry_after_s=10)

    def _identified(self, request: Request) -> Token:
        """Who sends it; of a webhook the signature is still to be checked, over the body. Raises Refusal."""
        if not self._access.ready:
            raise Refusal(503, "starting", "the database has not told yet who may send", retry_after_s=2)
        try:
            if "webhook" in request.query_params:
                return self._access.webhook(request.query_params["webhook"])
            return self._access.bearer(request.headers.get("authorization", ""))
        except Unauthorised as error:
            raise Refusal(401, "unauthorised", str(error)) from error

    async def _lines(self, request: Request, token: Token, media: str, grow: body.Grow) -> list[bytes]:
        declared = request.headers.get("content-length", "")
        data = await body.received(request.stream(), declared, self._limits, grow)
        if "webhook" in request.query_params:
            try:
                self._access.verify(token, request.headers, data, self._clock.now())
            except Unauthorised as error:
                raise Refusal(401, "unauthorised", str(error)) from error
        if request.headers.get("content-encoding", "").strip().lower() == "gzip":
            data = await body.unpacked(data, self._limits, grow)
        return body.lines(data, media, self._limits)

    async def _batch(self, lines: Sequence[bytes], token: Token, now: datetime) -> Batch:
        terms = self._terms(token.tenant_id, now)
        events: list[Event] = []
        letters: list[Letter] = []
        for start in range(0, len(lines), _SLICE):
            good, bad = read_lines(enumerate(lines[start : start + _SLICE], start + 1), terms)
            events += good
            letters += bad
            await asyncio.sleep(0)
        return Batch(tenant_id=token.tenant_id, source=token.source, received_at=now, events=events, letters=letters)

    def _told(self, batch: Batch, stored: Stored) -> Response:
        refused = sorted((*batch.letters, *stored.landed.refused), key=lambda letter: letter.number)
        gone = {letter.number for letter in stored.landed.refused}
        answer = Answer(
            accepted=len(batch.events) - len(stored.landed.refused),
            duplicates=None if stored.spooled else stored.landed.duplicates,
            unknown=sum(event.unknown and event.number not in gone for event in batch.events),
            spooled=stored.spooled,
            rejected=[Rejected(letter.number, letter.reason, letter.detail) for letter in refused],
        )
        self._count(batch, stored, answer)
        return _json(answer, 202 if answer.accepted else 400)

    def _count(self, batch: Batch, stored: Stored, answer: Answer) -> None:
        tenant = batch.tenant_id
        self._metrics.count(EVENTS, answer.accepted, tenant=tenant, outcome="accepted")
        self._metrics.count(EVENTS, answer.unknown, tenant=tenant, outcome="unknown")
        self._metrics.count(EVENTS, answer.accepted * stored.spooled, tenant=tenant, outcome="spooled")
        self._metrics.landed(tenant, stored.landed)
        for letter in batch.letters:
            self._metrics.count(DEAD, tenant=tenant, reason=letter.reason.value)

    def _answered(self, handle: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Turns what is raised into the answer that the contract has for it."""

        async def endpoint(request: Request) -> Response:
            try:
                response = await handle(request)
            except Refusal as refusal:
                response = _refused(refusal)
            except OverQuota as over:
                status, error = (503, "busy") if over.everybody else (429, "quota")
                response = _refused(Refusal(status, error, str(over), over.retry_after_s))
            except Unavailable:
                response = _refused(Refusal(503, "not_stored", "neither the database nor the disk took it", 5))
            except ClientDisconnect:
                response = _refused(Refusal(400, "cut", "the body ended before its end"))
            self._metrics.count(REQUESTS, status=str(response.status_code))
            return response

        return endpoint

    # -- for those who watch ---------------------------------------------------------------------------------------

    async def _alive(self, _request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def _ready(self, _request: Request) -> Response:
        database = self._access.ready and not self._intake.away
        ready = database or (self._access.ready and not self._spool.full)
        state = {"ready": ready, "database": database, "spool_bytes": self._spool.size}
        return _json(state, 200 if ready else 503)

    async def _counts(self, _request: Request) -> Response:
        gauges = {
            "dialer_collect_pending_bytes": self._quotas.pending,
            "dialer_collect_spool_bytes": self._spool.size,
            "dialer_collect_database_up": int(self._access.ready and not self._intake.away),
        }
        return PlainTextResponse(self._metrics.text(gauges), media_type="text/plain; version=0.0.4")

    async def _described(self, _request: Request) -> Response:
        return _json(openapi.document(), 200)

    # -- in the background -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        # Bringing home what the disk holds may take long, and a revoked token must not be good for so long.
        work = (self._intake.run(), self._keep(self._share), self._keep(self._intake.replay))
        tasks = [asyncio.create_task(one) for one in work]
        try:
            yield
        finally:
            # Requests are answered by now: nothing waits to be stored.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with suppress(psycopg.Error, TimeoutError):
                async with asyncio.timeout(KEEP_S):
                    await self._share()
            await self._connections.close()
            self._spool.close()

    async def _keep(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Does it for ever: at once while it says that there is more to do."""
        while True:
            pause = KEEP_S
            try:
                if await work():
                    pause = 0.0
            except (psycopg.Error, TimeoutError, OSError) as error:
                self._sparse.note("database_not_asked", type(error).__name__)
            except Exception:
                # Whatever it is, tokens and the disk must be looked after again.
                log.exception("keeping_failed")
            await self._clock.sleep(pause)

    async def _share(self) -> bool:
        unstored = self._quotas.unstored()
        try:
            async with asyncio.timeout(LAND_S):
                tokens, sent = await self._connections.run(lambda connection: books.exchange(connection, unstored))
        except BaseException:
            self._quotas.restore(unstored)
            raise
        self._quotas.learn(sent)
        self._access.learn(tokens)
        return False


def _json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status, media_type=_JSON)


def _refused(refusal: Refusal) -> Response:
    response = _json(Problem(refusal.error, refusal.detail), refusal.status)
    if refusal.retry_after_s is not None:
        response.headers["retry-after"] = str(refusal.retry_after_s)
    if refusal.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    if refusal.status in (408, 413) or refusal.error == "crowded":
        # The rest of the body is not wanted, or one connection more.
        response.headers["connection"] = "close"
    return response
