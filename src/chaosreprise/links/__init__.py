"""Our own proxy behind Toxiproxy's HTTP API, and the client that speaks to it and to the real one. See docs/links.md."""
