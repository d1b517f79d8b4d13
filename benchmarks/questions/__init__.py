"""What is asked: one file per question, named as the command line names it, with a ``title`` and ``ask``, which gives a row for each bar."""
