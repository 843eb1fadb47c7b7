"""PostgreSQL: the owner's tables, migrations, prices and bars. Importing it imports psycopg."""

from __future__ import annotations

from assetbatch.database.database import Store
from assetbatch.domain.models import Changes, Outcome, Saved

__all__ = ["Changes", "Outcome", "Saved", "Store"]
