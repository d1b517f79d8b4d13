"""The middleware as a framework would have it: one file per framework, each importing nothing of the others."""
