"""Find faces, align them and pack them: the pixels that training, evaluation and the service all see."""
