"""What a person and a machine read of a verdict: console, verdict.json, JUnit, HTML."""
