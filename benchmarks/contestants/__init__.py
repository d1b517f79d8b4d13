"""Ways of having N requests answered: one file each, with ``prepare``, which makes ready a function that does it once."""
