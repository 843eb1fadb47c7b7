"""How a platform's tables become ours: catalogue, then plan, then carried out or refused.

`read_catalogue` asks PostgreSQL, `plan` decides and is pure, `carry_out` changes the schema in the same
transaction.
"""

from assetbatch.store.adoption.carry_out import CarriedOut, carry_out, refuse
from assetbatch.store.adoption.plan import Plan, plan
from assetbatch.store.adoption.reading import read_catalogue
from assetbatch.store.adoption.recognition import lost_tables

__all__ = ["CarriedOut", "Plan", "carry_out", "lost_tables", "plan", "read_catalogue", "refuse"]
