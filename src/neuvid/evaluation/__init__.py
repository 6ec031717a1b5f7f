"""Codecs compared through real files: rates, distortions, curves and reports."""
