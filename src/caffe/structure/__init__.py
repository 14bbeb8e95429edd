"""What a net is, without running it: its shapes, its table, its drawing, how two differ."""
