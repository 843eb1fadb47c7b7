"""PostgreSQL: the owner's tables, migrations, prices and bars. Importing it imports psycopg."""

from __future__ import annotations

from assetbatch.market import Batch, Outcome, Saved
from assetbatch.store.database import Store
from assetbatch.store.initialisation import Initialised

__all__ = ["Batch", "Initialised", "Outcome", "Saved", "Store"]
