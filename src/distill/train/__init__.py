"""Training: epochs, steps, the objective, threads."""
