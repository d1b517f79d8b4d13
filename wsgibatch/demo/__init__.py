"""What ``wsgibatch demo`` shows: a small app behind gunicorn, a batch in every dialect, and when its items ran."""
