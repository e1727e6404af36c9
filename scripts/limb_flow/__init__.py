"""Training data and loop of the flow from joints."""
