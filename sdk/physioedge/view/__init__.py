"""The live page: a signal judged as it comes, in a browser on this machine. Needs the extra ``view``."""
