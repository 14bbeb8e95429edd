"""What tries to make Recaffe crash, hang, raise what is no CaffeError, or compute otherwise."""
