"""What can run a plan's operations as one, and the choice between them."""
