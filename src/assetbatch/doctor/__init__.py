"""Is everything in place? Config, Redis, PostgreSQL, locks, provider, plan, window, queue, cron, in this
order.

`examine`, `examine_config` and `examine_servers` ask; `findings` decides, from values, and is pure.
"""

from assetbatch.doctor.examine import examine, examine_config, examine_servers
from assetbatch.doctor.findings import Finding, Level, exit_code, worst

__all__ = ["Finding", "Level", "examine", "examine_config", "examine_servers", "exit_code", "worst"]
