"""Reading a network: what excites it, and why."""
