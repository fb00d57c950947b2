"""Number formats on tensors: ranges, rounding, and the network that a configuration computes."""
