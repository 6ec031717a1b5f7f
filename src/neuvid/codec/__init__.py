"""Streams: frames to packets and back."""
