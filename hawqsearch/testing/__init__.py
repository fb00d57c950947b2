"""Conformance kits and generated inputs, for this project's own tests and for third parties."""
