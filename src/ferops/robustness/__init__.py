"""What becomes of the answers when images get worse, and when they change in ways that should change nothing."""
