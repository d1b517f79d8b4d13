"""The wire formats of batches: one file each, named as the setting ``dialect`` names it."""
