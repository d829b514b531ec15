"""Training: faces of the train split -> weights, config, history and logits, one run per entry of `models`."""
