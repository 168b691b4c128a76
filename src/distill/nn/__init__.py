"""The mathematics: pure forward/backward pairs in NumPy. Imports only NumPy and itself.

Letters, here and in every room of `nn`: N rows of a batch, C units in, M units out (or classes), D input features,
T temperature; x w b are input, weights and bias, and the gradient of x is dx.
Read in this order: `vector`, `blas`, `ops`, `losses`, `optim`, `mlp`.
"""
