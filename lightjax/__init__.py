"""Feature visualization in functional JAX."""
