"""What idempotent replies are made of: policies, keys that are claimed, leases, and answers that are kept."""
