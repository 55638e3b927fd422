"""A first answer to the question: what of 100 GW of parked cars is left, and at what price."""
