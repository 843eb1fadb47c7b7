"""The simulated provider: a real HTTP server on loopback that answers as the provider does.

It is what `--sandbox` calls, what `assetbatch sandbox` serves, and the judge in the tests: it keeps a
log of arrivals. From the wire inwards: `server` (HTTP, keys, latency), `limits` (rate limit and log),
`faults` (what goes wrong to order), `answers` (the endpoints), `plans` (what a key may ask), and below
them the prices: `prices` makes them up, `replay` takes recorded ones, `bars` and `universe` are what
both share. Nothing outside this package depends on more than the names exported here.
"""

from __future__ import annotations

from assetbatch.sandbox.faults import FAULTS, parse_fault
from assetbatch.sandbox.limits import Arrival, Overrun, fingerprint, windows_over_limit
from assetbatch.sandbox.plans import PLANS, Plan
from assetbatch.sandbox.server import SandboxServer, serve_forever, system_clock

__all__ = [
    "FAULTS",
    "PLANS",
    "Arrival",
    "Overrun",
    "Plan",
    "SandboxServer",
    "fingerprint",
    "parse_fault",
    "serve_forever",
    "system_clock",
    "windows_over_limit",
]
