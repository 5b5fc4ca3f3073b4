"""A teacher for people whose beats nobody has labelled: trees that see the whole of a short recording, both ways."""
