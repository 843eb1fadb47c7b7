"""PostgreSQL: the owner's tables, migrations, prices and bars. Importing it imports psycopg."""

from __future__ import annotations

from assetbatch.database.database import Store
from assetbatch.domain.models import Batch, Outcome, Saved

__all__ = ["Batch", "Outcome", "Saved", "Store"]
