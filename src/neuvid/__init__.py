"""A practical neural video codec."""
