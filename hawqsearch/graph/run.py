"""Running a traced graph node by node, with values replaced on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.fx import Node

from hawqsearch.core.frozen import FrozenDict
from hawqsearch.graph.trace import TracedModel

__all__ = ["Replace", "Sweep", "evaluate"]

Replace = Callable[[str, torch.Tensor], torch.Tensor]
"""(fx name, value) -> the value that every reader downstream gets."""


def evaluate(
    traced: TracedModel,
    inputs: torch.Tensor,
    *,
    replace: Replace | None = None,
    parameters: Mapping[str, torch.Tensor] = FrozenDict(),
) -> torch.Tensor:
    """The output for `inputs` (n, …): (n, …), no gradient recorded.

    Args:
        replace: called on the input and on each operator's tensor; its answer is what readers see.
        parameters: parameter path -> tensor used instead of the model's own.
    """
    sweep = Sweep(traced, inputs, replace=replace, parameters=parameters)
    for _ in sweep:
        pass
    return sweep.output


class Sweep:
    """One forward pass that stops after every node, so that the rest can be run with another value there.

    Only values that a later node reads are kept, and those that the current node read. Each sweep has
    its own values: several threads may sweep over the same `TracedModel`.

    ```
    sweep = Sweep(traced, images)
    for name in sweep:                       # the input `x`, then each operator, in execution order
        if name == layer.value:
            quantized = sweep.again({layer.weight: rounded})
            logits = sweep.suffix(name, quantized)
    clean = sweep.output
    ```

    Args:
        traced: the model.
        inputs: (n, …).
        replace: applied to each value of the pass itself, and so to every suffix.
        parameters: parameter path -> tensor used instead of the model's own.
    """

    def __init__(
        self,
        traced: TracedModel,
        inputs: torch.Tensor,
        *,
        replace: Replace | None = None,
        parameters: Mapping[str, torch.Tensor] = FrozenDict(),
    ) -> None:
        self._nodes: list[Node] = [n for n in traced.module.graph.nodes if n.op != "get_attr"]
        self._constants = dict(traced.module.state_dict()) | dict(parameters)
        self._last_reads = _last_reads(self._nodes)
        self._inputs, self._replace = inputs, replace
        self._live: dict[str, Any] = {}
        self._position = -1
        self._output: torch.Tensor | None = None

    @property
    def output(self) -> torch.Tensor:
        """The pass's own output; raises `RuntimeError` before its end."""
        if self._output is None:
            raise RuntimeError("the sweep has not reached the output yet")
        return self._output

    def __iter__(self) -> Iterator[str]:
        """Compute node after node; yields the name of each tensor as soon as it is there."""
        while self._position + 1 < len(self._nodes):
            node = self._advance()
            if node.op != "output" and isinstance(self._live[node.name], torch.Tensor):
                yield node.name

    def _advance(self) -> Node:
        if self._position >= 0:
            self._free(self._live, self._position)
        self._position += 1
        node = self._nodes[self._position]
        self._live[node.name] = self._compute(node, self._live, self._replace)
        if node.op == "output":
            self._output = self._live.pop(node.name)
            self._live.clear()
        return node

    def value(self, name: str) -> torch.Tensor:
        """A value that is still alive: the current node's, what it read, or what a later node reads."""
        found: torch.Tensor = self._live[name]
        return found

    def again(self, substitutes: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """The current node's value, recomputed with other inputs (by fx name) or parameters (by path)."""
        node = self._nodes[self._position]
        answer: torch.Tensor = self._compute(node, self._live | dict(substitutes), None, substitutes)
        return answer

    def suffix(self, name: str, value: torch.Tensor, *, replace: Replace | None = None) -> torch.Tensor:
        """The output if the current node, which must be `name`, had produced `value`.

        Args:
            replace: applied to later values; by default what the sweep itself applies.

        Raises:
            ValueError: where the sweep stands at another node.
        """
        current = self._nodes[self._position].name if self._position >= 0 else None
        if name != current:
            raise ValueError(f"the sweep is at {current!r}, not at {name!r}")
        live = dict(self._live)
        live[name] = value
        for position in range(self._position, len(self._nodes) - 1):
            self._free(live, position)
            node = self._nodes[position + 1]
            live[node.name] = self._compute(node, live, replace or self._replace)
        answer: torch.Tensor = live[self._nodes[-1].name]
        return answer

    def _free(self, live: dict[str, Any], position: int) -> None:
        for name in self._last_reads[position]:
            live.pop(name, None)

    def _compute(
        self,
        node: Node,
        live: Mapping[str, Any],
        replace: Replace | None,
        parameters: Mapping[str, torch.Tensor] = FrozenDict(),
    ) -> Any:
        def fetch(source: Node) -> Any:
            if source.op != "get_attr":
                return live[source.name]
            target = str(source.target)
            return parameters[target] if target in parameters else self._constants[target]

        if node.op == "output":
            return torch.fx.map_arg(node.args[0], fetch)
        with torch.no_grad():
            if node.op == "placeholder":
                value: Any = self._inputs
            else:
                args, kwargs = torch.fx.map_arg((node.args, node.kwargs), fetch)
                value = node.target(*args, **kwargs)  # type: ignore[operator]
            return replace(node.name, value) if replace and isinstance(value, torch.Tensor) else value


def _last_reads(nodes: list[Node]) -> list[list[str]]:
    """Per position, the names that no later node reads."""
    last = {n.name: i for i, n in enumerate(nodes)}
    for position, node in enumerate(nodes):
        for source in node.all_input_nodes:
            if source.op != "get_attr":
                last[source.name] = position
    freed: list[list[str]] = [[] for _ in nodes]
    for name, position in last.items():
        freed[position].append(name)
    return freed
