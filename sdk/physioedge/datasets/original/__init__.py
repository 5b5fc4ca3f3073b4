"""Sets that are read in the form in which their authors distribute them, for those who have downloaded them."""
