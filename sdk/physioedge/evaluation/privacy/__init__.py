"""What a condition, or an adapter made of it, tells of a person: recognising, membership, rebuilding the signal."""
