"""From an image to faces and probabilities; shared by service, scoring and evaluation."""
