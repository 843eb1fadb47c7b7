"""How `init` adopts the tables of a platform: catalogue, then plan, then carried out or refused.

`read_catalogue` asks PostgreSQL, `plan` decides and is pure, `carry_out` changes the schema in the same
transaction.
"""

from assetbatch.database.adoption.carry_out import CarriedOut, carry_out, refuse
from assetbatch.database.adoption.plan import Plan, plan
from assetbatch.database.adoption.reading import read_catalogue
from assetbatch.database.adoption.recognition import lost_tables

__all__ = ["CarriedOut", "Plan", "carry_out", "lost_tables", "plan", "read_catalogue", "refuse"]
