"""Layers that know no codec."""
