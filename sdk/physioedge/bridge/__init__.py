"""BioX-Bridge: a task learned on one sensor, run on another, from pairs without labels."""
