"""Hardware-aware mixed-precision search: the precision of every layer, within a measured budget.

Names are loaded when they are first used: importing this package loads no torch, numpy or solver.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hawqsearch.api import Options as Options
    from hawqsearch.api import search as search
    from hawqsearch.core.budget import Budget as Budget
    from hawqsearch.core.data import Split as Split
    from hawqsearch.core.data import Splits as Splits
    from hawqsearch.core.outcome import Outcome as Outcome
    from hawqsearch.core.precision import Precision as Precision
    from hawqsearch.core.space import SearchSpace as SearchSpace

__all__ = ["Budget", "Options", "Outcome", "Precision", "SearchSpace", "Split", "Splits", "search"]

_WHERE: Final = MappingProxyType(
    {
        "Budget": "hawqsearch.core.budget",
        "Options": "hawqsearch.api",
        "Outcome": "hawqsearch.core.outcome",
        "Precision": "hawqsearch.core.precision",
        "SearchSpace": "hawqsearch.core.space",
        "Split": "hawqsearch.core.data",
        "Splits": "hawqsearch.core.data",
        "search": "hawqsearch.api",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
