"""From a picture to faces and probabilities; shared by evaluation and the service."""
