"""What the engine asks of an endpoint, and what the endpoints for many prices have in common.

No endpoint does I/O of its own. It sends with the client that it gets, and tells the learner and the
reporter.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from assetbatch.domain.calls import Call
from assetbatch.domain.entitlements import Entitlements, Restriction
from assetbatch.domain.models import CoveredInterval, StoredAsset
from assetbatch.domain.refusals import RefusalKind
from assetbatch.domain.work import Work
from assetbatch.refresh.interpretation import Findings, Page

if TYPE_CHECKING:
    from assetbatch.provider.client import ProviderClient
    from assetbatch.provider.refusals import Refusal
    from assetbatch.refresh.learner import Learner
    from assetbatch.refresh.reporter import Reporter

AnyCall = TypeVar("AnyCall", bound=Call)


class ShownRestriction(NamedTuple):
    """What a refusal shows the plan to lack, and the moment that belongs to it (0 if none does): what starts
    before it is refused (HISTORY), or the midnight up to which nothing is published yet (LAST_DAY)."""

    restriction: Restriction
    edge_ms: int = 0


class Endpoint(ABC, Generic[AnyCall]):
    """An endpoint of the provider, for one type of call."""

    is_shared: ClassVar[bool] = False
    """Whether one call serves several assets."""
    shows_today: ClassVar[bool] = False
    """Whether the endpoint is known to answer once data of the running day was seen."""
    restricts: ClassVar[Restriction | None] = None
    """What the plan lacks of a class that a good answer refuses; None if no answer does."""

    @abstractmethod
    def describe(self, call: AnyCall) -> str:
        """Return the call in words, for `--dry-run` and logs."""

    @abstractmethod
    def send(self, provider: ProviderClient, call: AnyCall, page: Page | None, seconds: float) -> Any:
        """Make one request, for the call or for a further page, and return the answer within `seconds`. Raise
        Refusal. May run in any thread."""

    @abstractmethod
    def observe(self, call: AnyCall, answer: Any, now_ms: int, learner: Learner, reporter: Reporter) -> None:
        """Tell the learner what an answer shows of the plan, and the reporter what is odd in it."""

    @abstractmethod
    def findings(
        self,
        call: AnyCall,
        work: Sequence[Work],
        page: Page | None,
        answer: Any,
        stored: Mapping[str, StoredAsset],
        known: Entitlements,
        now_ms: int,
    ) -> Findings:
        """Return what an answer means for the work of its call that is open."""

    @abstractmethod
    def restriction(self, call: AnyCall, kind: RefusalKind, now_ms: int) -> ShownRestriction | None:
        """Return what a refused call shows the plan to lack, or None if only the asset is concerned."""

    def refused_intervals(
        self, _call: AnyCall, _page: Page | None, _refusal: Refusal, _now_ms: int
    ) -> Sequence[CoveredInterval]:
        """Return the intervals of bars that a refused call was for."""
        return ()
