"""onnxruntime sessions: opened, timed, and asked which kernels they really ran."""
