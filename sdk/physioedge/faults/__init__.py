"""The fault list R1 to R17: what may go wrong, tried on purpose, one module a row.

Each row is a module named in `physioedge.faults.run.MODULES` with ``ROW`` and ``trial(setting)``. What a row tests is
judged by plain code of its own, never by the mechanism under test.
"""
