"""The neutral product: `config.json`, and beside it the scales as safetensors.

Scales are float32: `weights/<layer>/scale` (out,); `activations/<tensor>/scale` () with
`activations/<tensor>/zero_point` (), int32.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

import numpy as np
from safetensors.numpy import save

from hawqsearch.core.bitconfig import BitConfig, Origin, ScalesFile, bit_config
from hawqsearch.core.bitconfig_file import dump_bitconfig
from hawqsearch.core.model import ModelSpec
from hawqsearch.core.placement import Placement, place
from hawqsearch.core.problem import Config
from hawqsearch.core.target import Target
from hawqsearch.quant.calibrated import CalibratedModel

__all__ = ["SCALES_FILE", "bitconfig_files", "scales_of"]

SCALES_FILE: Final = "scales.safetensors"


def bitconfig_files(
    spec: ModelSpec,
    target: Target,
    config: Config,
    values: CalibratedModel,
    *,
    origin: Origin,
    ties: tuple[tuple[str, ...], ...] = (),
) -> tuple[str, bytes]:
    """Content of `config.json` and of the scales file that it names."""
    placement = place(spec, target, config)
    zero_points = {tensor: values.activation(tensor).zero_point for tensor in placement.activations}
    plain = bit_config(spec, target, config, zero_points, origin=origin, ties=ties)
    content: bytes = save(scales_of(placement, values), metadata={"model": spec.fingerprint})
    return dump_bitconfig(_with_scales(plain, content)), content


def scales_of(placement: Placement, values: CalibratedModel) -> dict[str, np.ndarray]:
    """Every scale and zero point of `placement`, by the name it has in the scales file."""
    found: dict[str, np.ndarray] = {}
    for layer, kind in placement.weights.items():
        found[f"weights/{layer}/scale"] = values.weight(layer, kind.bits).scale.numpy().astype(np.float32)
    for tensor in placement.activations:
        quantizer = values.activation(tensor)
        found[f"activations/{tensor}/scale"] = np.array(quantizer.scale, np.float32)
        found[f"activations/{tensor}/zero_point"] = np.array(quantizer.zero_point, np.int32)
    return found


def _with_scales(config: BitConfig, content: bytes) -> BitConfig:
    return replace(config, scales=ScalesFile(SCALES_FILE, hashlib.sha256(content).hexdigest()))
