"""Runtimes that load an exported model: opened, timed, and asked which kernels they really ran; one a file."""
