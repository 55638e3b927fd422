"""The verbs of `fleet`: each a Hydra border and one typed function."""
