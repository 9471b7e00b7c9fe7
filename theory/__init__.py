"""What the mathematics predicts: replica-symmetric theory of Hebbian networks, kernels of wide networks."""
