"""The families of codecs."""
