"""NVIDIA GPUs: kernels of PyTorch on CUDA, timed by the GPU's own clock."""
