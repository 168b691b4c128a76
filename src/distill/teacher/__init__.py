"""Where teachers come from, and whether they are good enough."""
