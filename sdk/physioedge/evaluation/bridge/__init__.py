"""What bridges between sensors are worth, beside what else could be done with the same pairs."""
