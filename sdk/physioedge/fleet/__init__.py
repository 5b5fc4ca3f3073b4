"""What a fleet of devices would ask of a fleet of hosts: a day on a virtual clock, with measured service times."""
