"""The families of networks that a plan may name, each with the class that builds it; nothing is imported before use."""

FAMILIES = {"mlp": "distill.nn.mlp:MLP"}  # name -> module:class
USUAL = "mlp"  # where a plan names none
