"""The ExecuTorch engine's C library: its source, where it lies once built, and Python's view of it.

The source is beside this file, for firmware to build too; docs/c-api.md describes it.
"""
