"""What is done: one file per part, named as the command line names it, with a ``title`` and ``soak``, which gives a row for each thing counted."""
