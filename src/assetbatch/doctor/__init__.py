"""Is everything in place? Config, Redis, PostgreSQL, locks, provider, plan, window, queue, cron, in this
order.

`examine` and `examine_config` ask; `findings` decides, from values, and is pure.
"""

from assetbatch.doctor.examine import examine, examine_config
from assetbatch.doctor.findings import Finding, Level, exit_code, worst

__all__ = ["Finding", "Level", "examine", "examine_config", "exit_code", "worst"]
