"""What the plan of an API key shows and lacks: learned once, kept for all processes, tested again after a
while."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from assetbatch.domain.asset_classes import AssetType, Product, product_of, product_of_name
from assetbatch.domain.entitlements import KnownRestriction, Observation, Restriction
from assetbatch.domain.pages import PageLength
from assetbatch.domain.units import DAY_MS
from assetbatch.state.connection import RedisClient, redis_errors
from assetbatch.state.keys import Keys

if TYPE_CHECKING:
    from assetbatch.domain.nyse import SpecialDays

_KEPT_MS = 40 * DAY_MS


def plan_name(fingerprint: str, product: Product, plan: str) -> str:
    """Return what the keys call a plan of an API key, so that another plan of one product leaves what is
    known of the others. Currencies keep the name of earlier versions."""
    plan = "free" if plan == "basic" else plan
    return f"{fingerprint}:{plan}" if product is Product.CURRENCIES else f"{fingerprint}:{product}:{plan}"


class Remembered(NamedTuple):
    """All that is remembered, expired or not: the choice of calls decides by the time."""

    restrictions: list[KnownRestriction]
    observations: list[Observation]
    page_lengths: list[PageLength]
    special_days: SpecialDays | None = None
    """The days of the stock exchange that the provider lists; None where they are not asked for."""


class _Stored(msgspec.Struct, frozen=True, kw_only=True, rename={"restriction": "lack"}):
    """A restriction as Redis holds it; its fields are the same in all versions."""

    restriction: Restriction
    asset_type: AssetType
    since_ms: int
    until_ms: int
    message: str
    edge_ms: int | None = None
    """Where the history starts (HISTORY), or since when the last day is unpublished (LAST_DAY)."""
    tickers: tuple[str, ...] = ()
    general: bool = True


def _encode(known: KnownRestriction) -> bytes:
    edge_ms = known.history_starts_ms or known.unpublished_since_ms
    fields = {name: getattr(known, name) for name in _Stored.__struct_fields__ if name != "edge_ms"}
    return msgspec.json.encode(_Stored(**fields, edge_ms=edge_ms))


def _decode(text: str) -> KnownRestriction:
    stored = msgspec.json.decode(text, type=_Stored)
    fields = msgspec.structs.asdict(stored)
    edge_ms = fields.pop("edge_ms")
    if stored.restriction is Restriction.HISTORY:
        fields["history_starts_ms"] = edge_ms
    if stored.restriction is Restriction.LAST_DAY:
        fields["unpublished_since_ms"] = edge_ms
    return KnownRestriction(**fields)


class EntitlementStore:
    """What is known of the plans of some products: a field per restriction or observation and asset class,
    and per market or ticker whose pages may be longer. `plans` has the name of the plan of each product, as
    `plan_name` makes it. All methods raise RedisError when Redis cannot be asked."""

    def __init__(
        self,
        client: RedisClient,
        keys: Keys,
        plans: Mapping[Product, str],
        *,
        with_special_days: bool = False,
    ) -> None:
        """`with_special_days`: the days of the stock exchange are loaded in the same round trip."""
        self._client = client
        self._keys = keys
        self._plans = plans
        self._special_days = keys.special_days if with_special_days else None
        self._former: dict[str, str] = {}
        """Keys of earlier versions, and where what they hold belongs."""
        if keys.has_former and (plan := plans.get(Product.CURRENCIES)):
            for name in (keys.refusals, keys.sightings):
                self._former[name(plan, former=True)] = name(plan)

    def load(self) -> Remembered:
        """Load everything, in one round trip; move what an earlier version has learned."""
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            for key in self._former:
                pipeline.hgetall(key)
            kinds = (self._keys.refusals, self._keys.sightings, self._keys.page_lengths)
            for key_of in kinds:
                for plan in self._plans.values():
                    pipeline.hvals(key_of(plan))
            if self._special_days:
                pipeline.get(self._special_days)
            replies = pipeline.execute()
            days = replies.pop() if self._special_days else None
            former, answers = replies[: len(self._former)], replies[len(self._former) :]
            if any(former):
                self._move(former)
                return self.load()
        each = len(self._plans)
        refusals, sightings, page_lengths = (
            chain.from_iterable(answers[at : at + each]) for at in range(0, len(kinds) * each, each)
        )
        return Remembered(
            [_decode(text) for text in refusals],
            [msgspec.json.decode(text, type=Observation) for text in sightings],
            [msgspec.json.decode(text, type=PageLength) for text in page_lengths],
            _days(days) if self._special_days else None,
        )

    def remember(self, known: KnownRestriction | Observation | PageLength) -> None:
        """Replace what was known of this restriction, or was shown, for this asset class; or of these
        pages."""
        if isinstance(known, KnownRestriction):
            key = self._keys.refusals(self._plans[product_of(known.asset_type)])
            field, text = f"{known.restriction.value}|{known.asset_type.value}", _encode(known)
        elif isinstance(known, PageLength):
            key = self._keys.page_lengths(self._plans[product_of_name(known.of)])
            field, text = known.of, msgspec.json.encode(known)
        else:
            key = self._keys.sightings(self._plans[product_of(known.asset_type)])
            field, text = known.asset_type.value, msgspec.json.encode(known)
        with redis_errors():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.hset(key, field, text.decode())
            pipeline.pexpire(key, _KEPT_MS)
            pipeline.execute()

    def _move(self, former: list[dict[str, str]]) -> None:
        pipeline = self._client.pipeline(transaction=True)
        for (old, key), fields in zip(self._former.items(), former, strict=True):
            for field, text in fields.items():
                pipeline.hsetnx(key, field, text)  # what was learned since is newer
            pipeline.pexpire(key, _KEPT_MS)
            pipeline.delete(old)
        pipeline.execute()


def _days(text: str | None) -> SpecialDays:
    from assetbatch.state.reference_store import decode_special_days  # currencies alone need none of it

    return decode_special_days(text)
