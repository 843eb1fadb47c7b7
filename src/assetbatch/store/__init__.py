"""PostgreSQL: the owner's tables, migrations, prices and bars. Importing it imports psycopg."""

from __future__ import annotations

from assetbatch.market import Batch, Outcome, Saved
from assetbatch.store.database import Store

__all__ = ["Batch", "Outcome", "Saved", "Store"]
