"""Vital signs: forecasts and estimates by every method, beside their rivals (docs/vitals.md)."""
