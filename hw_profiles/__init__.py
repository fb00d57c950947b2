"""One folder a target: its kernels as data, and the tables that ship with it."""
