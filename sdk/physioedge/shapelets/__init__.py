"""Public, fixed shapelets of every kind of sensor: found, learned, stored."""
