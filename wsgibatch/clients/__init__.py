"""Clients of a batch endpoint that look like the clients one already has: a session of requests, and transports for httpx."""
