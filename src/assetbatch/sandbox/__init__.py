"""The simulated provider: a real HTTP server on loopback that responds as the provider does.

`--sandbox` calls it, `assetbatch sandbox` serves it, and it is the judge of the tests: it logs arrivals. From
the wire inwards: `server` (HTTP, keys, latency), `limits` (rate limit and log), `faults` (ordered trouble),
`endpoints` (one module each), `plans` (what a key may ask), `market_data` and `spans` (days, bars and pages).
Below them are the prices: `prices` makes them up, `replay` reads recorded ones, and both share `bars` and
`universe`. Nothing outside this package uses other names than the exported ones.
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
