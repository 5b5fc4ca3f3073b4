"""Speed and memory of a bundle, beside plain engines, in one run."""
