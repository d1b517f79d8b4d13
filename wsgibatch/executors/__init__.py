"""Where items run: one file each, named as the setting ``executor`` names it."""
