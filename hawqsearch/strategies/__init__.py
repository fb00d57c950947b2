"""Strategies that answer a `SearchProblem`, one file each; pure functions of data."""
