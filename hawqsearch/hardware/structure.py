"""What two networks share when whatever was measured whole on one holds for the other."""

from __future__ import annotations

import hashlib
import json

from hawqsearch.core.hardware import Signature
from hawqsearch.core.model import ModelSpec

__all__ = ["structure_of"]


def structure_of(spec: ModelSpec) -> str:
    """Hash of names, kernels and wiring at batch 1; weights are not in it, for they change no latency."""
    nodes = [[n.name, str(Signature.of(n, 1)), list(n.inputs), n.tensor] for n in spec.nodes]
    return hashlib.sha256(json.dumps(nodes).encode()).hexdigest()[:16]
