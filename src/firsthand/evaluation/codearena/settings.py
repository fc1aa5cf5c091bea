"""What an arena's server and judges are told: one file of TOML for both, with the names of the command's flags."""

from __future__ import annotations

from pydantic import Field

from firsthand.evaluation.codearena.store.queue import LEASE_S
from firsthand.evaluation.codearena.store.submissions import QUEUE_LIMIT
from firsthand.launch.settings import Settings

__all__ = ["ArenaSettings"]


class ArenaSettings(Settings):
    """Database, server, judges and limits."""

    database: str = Field(
        "sqlite:///arena.db", description="sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
    )
    host: str = Field(
        "127.0.0.1", description="address of this machine; others than the loopback reach the network"
    )
    port: int = Field(8766, ge=0, le=65535, description="0 takes a free one")
    hosts: tuple[str, ...] = Field(
        (), description="further names that a Host header may have on the loopback: of a reverse proxy here"
    )
    proxies: tuple[str, ...] = Field(
        (), description="addresses of reverse proxies whose X-Forwarded-For is believed"
    )
    public_reads: bool = Field(True, description="statements, boards and verdicts are shown without a token")
    open_data: bool = Field(
        False, description="so are sources, test cases and the export; otherwise they need the scope reader"
    )

    judges: int = Field(1, ge=0, le=256, description="judge processes that the server runs itself")
    repeats: int = Field(1, ge=1, le=25, description="passes over the cases of a submission, for its timing")
    grade_all: bool = Field(False, description="run every case of a submission, also after one failed")
    host_class: str = Field(
        "",
        description="of this machine: runtimes are compared within one; empty for architecture and processor",
    )
    lease_s: float = Field(
        LEASE_S, gt=0, le=3600, description="seconds after which the job of a judge that died is taken over"
    )

    source_kb: int = Field(64, ge=1, le=1024, description="how long a source may be")
    case_kb: int = Field(4096, ge=1, le=16384, description="how long a test case's input or output may be")
    queue_limit: int = Field(
        QUEUE_LIMIT, ge=1, description="submissions that may wait before others are refused"
    )
    reads_per_minute: float = Field(1200, gt=0, description="requests of one token or address that read")
    writes_per_minute: float = Field(240, gt=0, description="and that write")
    submissions_per_minute: float = Field(120, gt=0, description="submissions of one account")
    failures_per_minute: float = Field(
        30, gt=0, description="wrong tokens from one address before it must wait"
    )

    checkpoint_hours: float = Field(24.0, ge=0, description="between boards that are written down; 0: none")
    webhook_hosts: tuple[str, ...] = Field(
        (), description="host:port of webhooks that may be in our own network"
    )
