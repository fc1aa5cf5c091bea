"""What a session may spend and when it acts."""

from __future__ import annotations

from pydantic import Field

from firsthand.launch.settings import Settings

__all__ = ["Config"]


class Config(Settings):
    """Budgets and delays of a session; every one has a default that works."""

    speculate: bool = Field(True, description="work ahead of submissions; false answers each as it comes")
    race: bool = Field(
        True, description="begin a submission as it is while it is looked whether tables made ahead answer it"
    )
    debounce_ms: int = Field(250, ge=0, description="pause in typing after which the page sends a snapshot")
    preview_rows: int = Field(30, ge=1, le=1000, description="rows of a preview")
    preview_chars: int = Field(4000, ge=100, description="characters of a preview as text")
    max_views: int = Field(
        32, ge=1, description="speculative tables kept; the least recently used goes first"
    )
    max_view_bytes: float = Field(1 * 2**30, gt=0, description="bytes that all of them may take together")
    max_results: int = Field(32, ge=0, description="answers kept for the same text again")
    max_result_bytes: float = Field(16 * 2**20, ge=0, description="bytes of an answer that is kept")
    command_timeout_s: float = Field(
        10.0, gt=0, description="seconds after which a speculative query is given up"
    )
    use_view_ratio: float = Field(
        0.5,
        gt=0,
        le=1,
        description="a table is read only where it is at most so much of what it saves reading",
    )
    sample_fraction: float = Field(
        0.05, gt=0, lt=1, description="of the largest table, for previews that take too long"
    )
    min_rule_length: int = Field(5, ge=1, description="tokens of a remembered repair")
    patch_similarity: float = Field(
        0.6, ge=0, le=1, description="below this likeness to the last runnable text, repairs are forgotten"
    )
