"""The health document: what is fresh, what waits, what is left of the window, what went wrong.

`collect` reads; everything else decides, from values, and is pure.
"""

from assetbatch.health.assets import asset_health, is_stale
from assetbatch.health.collect import collect
from assetbatch.health.document import (
    Alert,
    AssetHealth,
    FailureShown,
    Health,
    HealthStatus,
    JobHealth,
    Metric,
    Problem,
    Severity,
    Verification,
    encode,
    unreachable,
)
from assetbatch.health.jobs import job_health
from assetbatch.health.metrics import alerts_of, metrics_of
from assetbatch.health.problems import Situation, problems_of, verdict

__all__ = [
    "Alert",
    "AssetHealth",
    "FailureShown",
    "Health",
    "HealthStatus",
    "JobHealth",
    "Metric",
    "Problem",
    "Severity",
    "Situation",
    "Verification",
    "alerts_of",
    "asset_health",
    "collect",
    "encode",
    "is_stale",
    "job_health",
    "metrics_of",
    "problems_of",
    "unreachable",
    "verdict",
]
