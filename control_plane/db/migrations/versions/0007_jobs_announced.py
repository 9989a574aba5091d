"""When workers elsewhere were told of a job.

Revision: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from control_plane.db.types import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("announced_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "announced_at")
