"""PostgreSQL: the owner's tables, migrations, prices and bars. Importing it imports psycopg."""

from __future__ import annotations

from assetbatch.store.database import Store
from assetbatch.store.registration import Registered
from assetbatch.store.saving import Batch, Outcome, Saved

__all__ = ["Batch", "Outcome", "Registered", "Saved", "Store"]
