"""A module becomes a graph: layers, shapes, joins and tensors, with batch normalization folded away."""
