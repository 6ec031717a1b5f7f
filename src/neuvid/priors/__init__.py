"""How a latent is coded, given its context."""
