"""The experiments as package data: `importlib.resources.files("chaosreprise.experiments")`."""
