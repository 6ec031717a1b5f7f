"""Choices of quality; sees numbers, never streams or models."""
