"""One run from open to verdict: its processes, its phases, its directory, its judgement."""
