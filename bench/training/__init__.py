"""The experiments: block AdaGrad and others training small networks, ``python -m bench train``."""
