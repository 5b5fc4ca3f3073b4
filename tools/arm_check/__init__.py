"""Runs a bundle under emulated 64-bit Arm processors and compares it with this machine; see docs/arm.md."""
