"""Training experiments: block AdaGrad and other optimizers on small networks."""
