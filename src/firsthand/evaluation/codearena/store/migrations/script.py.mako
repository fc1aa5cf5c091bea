"""${message}."""

import sqlalchemy as sa
from alembic import op

from firsthand.evaluation.codearena.tables import Utc

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Bring the tables up to date."""
    ${upgrades if upgrades else "pass"}
