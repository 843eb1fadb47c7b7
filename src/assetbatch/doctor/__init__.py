"""Is everything in place? Config, Redis, PostgreSQL, locks, vendor, plan, window, queue, cron, in this order.

`examine` asks; `findings` decides, from values, and is pure.
"""

from assetbatch.doctor.examine import examine
from assetbatch.doctor.findings import Finding, Level, exit_code, worst

__all__ = ["Finding", "Level", "examine", "exit_code", "worst"]
