"""Webhooks: an account's judged submissions, posted to an address of its choice, signed, never into our network.

What is to be sent is written in the transaction of the judgement (`post_judged`), so that nothing is lost with a
process; `deliver_due` sends it, again and again for about six hours where the receiver fails. A receiver may get one
twice: the header Firsthand-Delivery names the delivery, and is the same each time.

An address is somebody else's text, and the server is inside the network that it serves. So a name is looked up here,
all of its addresses must be public ones, the connection goes to an address that was checked, and redirects are not
followed. A receiver that is slow, or trickles its answer, holds up only what is to be sent to itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import secrets
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import ColumnElement, Connection, delete, insert, literal, select, update

from firsthand.evaluation.codearena.refusals import InvalidRequest, UnknownEntry
from firsthand.evaluation.codearena.store.accounts import Account, now
from firsthand.evaluation.codearena.store.database import Database
from firsthand.evaluation.codearena.store.tables import delivery, webhook
from firsthand.evaluation.codearena.store.texts import checked_text, sha256

if TYPE_CHECKING:
    import httpx

__all__ = ["SIGNATURE", "Webhook", "Webhooks", "post_judged", "signature", "verify_signature"]

SIGNATURE = "Firsthand-Signature"
_LOG = logging.getLogger("firsthand.codearena")
_MOST = 10  # webhooks of an account
_TRIES = 12  # waiting 10 s, 20 s, ... about 6 hours together
_TIMEOUT_S = 10.0  # for a delivery, from looking the name up to the answer's status
_LEASE_S = 60.0  # in which nobody else sends the same


@dataclass(frozen=True)
class Webhook:
    """Where an account's judged submissions are posted; `secret` is told once, when it is made."""

    id: int
    url: str
    created_at: datetime
    secret: str | None = field(default=None, repr=False)


def post_judged(
    connection: Connection, account_id: int, at: ColumnElement[datetime], payload: Mapping[str, Any]
) -> None:
    """Note something to be sent to every webhook of an account, in the transaction of what it tells of."""
    text = json.dumps(payload)
    connection.execute(
        insert(delivery).from_select(
            ["webhook_id", "payload", "tries", "not_before", "last_fault"],
            select(webhook.c.id, literal(text), literal(0), at, literal("")).where(
                webhook.c.account_id == account_id
            ),
        )
    )


def signature(secret: str, body: bytes, at: int) -> str:
    """The header's value: `t=SECONDS,v1=HEX`, HMAC-SHA-256 of `SECONDS.BODY`."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def verify_signature(secret: str, header: str, body: bytes, *, tolerance_s: float = 300.0) -> bool:
    """For a receiver: whether this body was signed with the secret, at most `tolerance_s` seconds ago."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    try:
        at = int(parts["t"])
    except (KeyError, ValueError):
        return False
    expected = signature(secret, body, at).encode()
    return abs(time.time() - at) <= tolerance_s and hmac.compare_digest(
        expected, header.encode("utf-8", "replace")
    )


class Webhooks:
    """Webhooks of one arena.

    Args:
        private: `host:port` of receivers that may be in our own network.
    """

    def __init__(
        self, database: Database, clock: Callable[[], datetime] = now, *, private: Collection[str] = ()
    ) -> None:
        self._database, self._clock = database, clock
        self._private = frozenset(entry.lower() for entry in private)

    def add(self, owner: Account, url: str) -> Webhook:
        """A new webhook with its secret.

        Raises:
            InvalidRequest: an address that is none, or that may not be posted to; too many webhooks.
        """
        checked_text(url, "the webhook's url", 2000, fault=InvalidRequest)
        parts = self._parts(url)
        if _literal(parts) is not None:  # a name is looked up when something is sent
            self._addresses(parts)
        secret = secrets.token_urlsafe(32)
        at = self._clock()
        with self._database.write() as connection:
            there = connection.execute(select(webhook.c.id).where(webhook.c.account_id == owner.id)).all()
            if len(there) >= _MOST:
                raise InvalidRequest(f"an account has at most {_MOST} webhooks; delete one first")
            number = connection.execute(
                insert(webhook)
                .values(account_id=owner.id, url=url, secret=secret, created_at=at)
                .returning(webhook.c.id)
            ).scalar_one()
        return Webhook(number, url, at, secret)

    def all(self, owner: Account) -> list[Webhook]:
        """An account's webhooks, without their secrets."""
        query = select(webhook).where(webhook.c.account_id == owner.id).order_by(webhook.c.id)
        with self._database.read() as connection:
            return [Webhook(row.id, row.url, row.created_at) for row in connection.execute(query)]

    def remove(self, owner: Account, number: int) -> None:
        """Delete a webhook and what was to be sent to it; raises `UnknownEntry` where it is not the account's."""
        with self._database.write() as connection:
            mine = select(webhook.c.id).where(webhook.c.id == number, webhook.c.account_id == owner.id)
            if connection.execute(mine).first() is None:
                raise UnknownEntry(f"there is no webhook {number}")
            connection.execute(delete(delivery).where(delivery.c.webhook_id == number))
            connection.execute(delete(webhook).where(webhook.c.id == number))

    # --- sending ---------------------------------------------------------------------------------

    def deliver_due(self, most: int = 20) -> int:
        """Send what is due, one delivery to each webhook and at most so many; returns how many were received."""
        rows: list[Any] = []
        while len(rows) < most and (row := self._take([row.webhook_id for row in rows])) is not None:
            rows.append(row)
        faults = asyncio.run(self._send_all(rows)) if rows else []
        for row, fault in zip(rows, faults, strict=True):
            mine = delivery.c.id == row.id
            with self._database.write() as connection:
                if not fault or row.tries + 1 >= _TRIES:
                    connection.execute(delete(delivery).where(mine))
                else:
                    wait = 10.0 * 2.0**row.tries
                    connection.execute(
                        update(delivery)
                        .where(mine)
                        .values(not_before=self._database.now(wait), last_fault=fault)
                    )
            if fault:
                _LOG.info("webhook %s, delivery %s: %s", row.webhook_id, row.id, fault)
        return faults.count("")

    def _take(self, busy: Sequence[int]) -> Any:
        """A delivery that is due, kept from others for a while; None where there is none but to `busy` webhooks."""
        free = delivery.c.webhook_id.not_in(busy)
        with self._database.read() as connection:
            due = select(delivery.c.id).where(delivery.c.not_before <= self._database.now(), free)
            if connection.execute(due.limit(1)).first() is None:
                return None
        with self._database.write() as connection:
            row = connection.execute(
                select(delivery, webhook.c.url, webhook.c.secret)
                .join(webhook, webhook.c.id == delivery.c.webhook_id)
                .where(delivery.c.not_before <= self._database.now(), free)
                .order_by(delivery.c.not_before, delivery.c.id)
                .limit(1)
                .with_for_update(skip_locked=True, of=delivery)
            ).first()
            if row is not None:
                connection.execute(
                    update(delivery)
                    .where(delivery.c.id == row.id)
                    .values(tries=row.tries + 1, not_before=self._database.now(_LEASE_S))
                )
        return row

    async def _send_all(self, rows: Sequence[Any]) -> list[str]:
        import httpx

        # Below httpx's client, which would write addresses into the log; they may hold a secret of the receiver's.
        async with httpx.AsyncHTTPTransport() as transport:
            return await asyncio.gather(*(self._send(transport, row) for row in rows))

    async def _send(self, transport: httpx.AsyncHTTPTransport, row: Any) -> str:
        """Post one delivery; "" where it was received, else why not."""
        import httpx

        try:
            status = await asyncio.wait_for(self._post(transport, row), _TIMEOUT_S)
        except TimeoutError:
            return f"no answer within {_TIMEOUT_S:g} s"
        except (httpx.HTTPError, httpx.InvalidURL, InvalidRequest, OSError) as error:
            return f"{type(error).__name__}: {error}"[:500]
        return "" if 200 <= status < 300 else f"answered {status}"

    async def _post(self, transport: httpx.AsyncHTTPTransport, row: Any) -> int:
        """The status of the answer of the first of the host's addresses that can be reached."""
        import httpx

        parts, body = self._parts(row.url), row.payload.encode()
        headers = {
            "Host": parts.netloc,
            "Content-Type": "application/json",
            "User-Agent": "firsthand-codearena",
            SIGNATURE: signature(row.secret, body, int(time.time())),
            # Not the row's number alone: SQLite gives that of a row that is gone to the next one.
            "Firsthand-Delivery": sha256(str(row.id), row.payload)[:32],
        }
        extensions = {"sni_hostname": str(parts.hostname), "timeout": httpx.Timeout(_TIMEOUT_S).as_dict()}
        addresses = await asyncio.to_thread(self._addresses, parts)
        for address in addresses:
            # The address that was checked in the place of the name, which could stand for another one by now.
            url = httpx.URL(row.url).copy_with(host=address)
            request = httpx.Request("POST", url, headers=headers, content=body, extensions=extensions)
            try:
                answer = await transport.handle_async_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if address == addresses[-1]:
                    raise
            else:
                await answer.aclose()
                return answer.status_code
        raise AssertionError("a host that was looked up has an address")

    def _parts(self, url: str) -> SplitResult:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidRequest(f"the webhook's url cannot be read: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise InvalidRequest("a webhook's url is http://HOST/PATH or https://HOST/PATH")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise InvalidRequest("a webhook's url has no user, no password and no fragment")
        if not url.isascii() or any(character.isspace() or character in '\\"<>^`{|}' for character in url):
            raise InvalidRequest("a webhook's url is ASCII without spaces; encode other characters with %")
        return parts

    def _addresses(self, parts: SplitResult) -> list[str]:
        """What the name stands for; raises `InvalidRequest` where one of these is no public address."""
        host = str(parts.hostname)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise InvalidRequest(f"the webhook's host {host!r} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        named = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if named.lower() not in self._private:
            for address in addresses:
                if not _public(address):
                    raise InvalidRequest(
                        f"the webhook's host {host!r} is in a private network; only public addresses are posted to"
                    )
        return addresses


def _literal(parts: SplitResult) -> str | None:
    try:
        return str(ipaddress.ip_address(str(parts.hostname)))
    except ValueError:
        # Other ways of writing an address (decimal, octal, short) that the system's look-up understands.
        host = str(parts.hostname)
        return host if host.replace(".", "").isdigit() or host.lower().startswith("0x") else None


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo[1] if found.teredo else None)
        if inner is not None:
            return _public(str(inner))
        if found.is_site_local:
            return False
    # Reserved are, among others, the IPv6 addresses that lead to IPv4 ones behind a gateway (NAT64).
    return found.is_global and not found.is_multicast and not found.is_reserved
