"""One py:percent source for each notebook: its student copy, its solved master, and the proofs on both."""
