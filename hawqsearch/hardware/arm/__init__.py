"""Arm cores without a board: onnxruntime's aarch64 kernels under qemu, instructions counted, cycles modelled."""
