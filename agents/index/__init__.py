"""The tuned index: a linear index and a rule for its share on duty, searched by CMA-ES."""
