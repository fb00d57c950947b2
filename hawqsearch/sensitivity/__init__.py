"""How much each choice hurts; one method a file."""
