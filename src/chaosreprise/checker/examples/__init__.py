"""For each check a violation, and a near miss that is legal: drawn in docs/checks.md, judged by the tests. One module a check."""
