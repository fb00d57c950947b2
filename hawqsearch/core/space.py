"""What a search may choose from."""

from __future__ import annotations

from dataclasses import dataclass, field

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.core.model import JOIN_OPS, ModelSpec, NodeSpec
from hawqsearch.core.precision import FP32, Precision
from hawqsearch.core.target import Target
from hawqsearch.errors import InputError

__all__ = ["Allowed", "SearchSpace"]

_JOIN_INT8 = Precision.parse("w8a8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Node -> precisions to choose from, and what fell out because the target has no kernel for it."""

    precisions: FrozenDict[str, tuple[Precision, ...]]
    dropped: FrozenDict[str, tuple[Precision, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpace:
    """Precisions allowed for every weighted layer, pins, and ties.

    Args:
        explicit: the user asked for these very precisions, so that one without a kernel is an error.
    """

    precisions: tuple[Precision, ...]
    pins: FrozenDict[str, Precision] = field(default_factory=FrozenDict)
    ties: tuple[tuple[str, ...], ...] = ()
    explicit: bool = False

    def allowed(self, spec: ModelSpec, target: Target) -> Allowed:
        """The choices of every node on `target`; fp32 is one unless pinned away.

        Raises `InputError` for a pin or an explicit precision that has no kernel, for a layer left with
        nothing, and `UnknownNameError` for a pin or tie on an unknown layer.
        """
        for name in [*self.pins, *(n for group in self.ties for n in group)]:
            spec.node(name)
        choices: dict[str, tuple[Precision, ...]] = {}
        dropped: dict[str, list[Precision]] = {}
        for node in spec.nodes:
            wanted = self._wanted(node)
            choices[node.name] = tuple(p for p in wanted if _exists(node, p, target))
            for precision in (p for p in wanted if p not in choices[node.name]):
                if node.is_weighted:
                    dropped.setdefault(node.op, []).append(precision)
                if node.name in self.pins or (self.explicit and node.is_weighted):
                    raise InputError(
                        f"{target.name} has no {precision} kernel for {node.name} ({node.op}); it has "
                        f"{', '.join(map(str, target.precisions(node.op))) or 'fp32 only'}"
                    )
            if not choices[node.name]:
                raise InputError(
                    f"no allowed precision of {node.name} has a kernel on {target.name}; allow fp32"
                )
        return Allowed(
            precisions=FrozenDict(choices),
            dropped=FrozenDict({op: tuple(dict.fromkeys(left)) for op, left in dropped.items()}),
        )

    def _wanted(self, node: NodeSpec) -> tuple[Precision, ...]:
        if node.name in self.pins:
            return (self.pins[node.name],)
        if node.is_weighted:
            return self.precisions
        return (_JOIN_INT8, FP32) if node.op in JOIN_OPS else (FP32,)


def _exists(node: NodeSpec, precision: Precision, target: Target) -> bool:
    return precision == FP32 or target.kernel(node.op, str(precision)) is not None
