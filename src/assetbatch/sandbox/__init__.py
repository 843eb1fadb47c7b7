"""The simulated provider: a real HTTP server on loopback that responds as the provider does.

`--sandbox` calls it, `assetbatch sandbox` serves it, and it is the judge of the tests: it logs arrivals. From
the wire inwards: `server` (HTTP, keys, latency), `limits` (rate limit and log), `faults` (ordered trouble),
`endpoints` (one module each), `plans` (what a key may ask), `market_data`, `stock_snapshots` and `spans`
(days, snapshots, bars and pages). Below them are the prices: `prices` makes them up from `courses`, those of
stocks and indices with `stock_days`, `replay` reads recorded ones, and all share `bars` and `universe`.
`listings` has the stocks and indices, `exchange` the days on which they are traded. Nothing outside this
package uses other names than the exported ones.
"""

from __future__ import annotations

from assetbatch.sandbox.faults import FAULTS, parse_fault
from assetbatch.sandbox.limits import Arrival, Overrun, fingerprint, windows_over_limit
from assetbatch.sandbox.listings import Exchange
from assetbatch.sandbox.plans import PLANS, Plan, plan_of
from assetbatch.sandbox.server import SandboxServer, serve_forever, system_clock

__all__ = [
    "FAULTS",
    "PLANS",
    "Arrival",
    "Exchange",
    "Overrun",
    "Plan",
    "SandboxServer",
    "fingerprint",
    "parse_fault",
    "plan_of",
    "serve_forever",
    "system_clock",
    "windows_over_limit",
]
