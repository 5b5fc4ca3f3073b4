"""The firmware kit: a bundle as C headers, arrays and a program that verifies and runs it. docs/firmware.md."""
