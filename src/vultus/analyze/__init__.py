"""Looking inside networks: receptive fields, decision boundaries, biases."""
