"""Which images a person should label or look at again, and what the person said."""
