"""Does it hold for a million inputs as well? ``python -m tests.soak`` runs every part, and tells what it counted and what it found.

A *part* (one file in ``parts``) is a way of wearing the package down. None of this belongs to the ordinary tests, which run each part for a moment
only, and every input in ``found``, where fuzzing has put what once went wrong.
"""
