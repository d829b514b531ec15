"""Whether the answers are as good for one group of people as for another."""
