"""Reports for people: one self-contained HTML page, and the figures of the README."""
