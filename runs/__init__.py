"""Scripts that put measurement and theory side by side, one a figure."""
