"""Heart rate: fitting of the network that reads spectra and the backbone's embedding."""
