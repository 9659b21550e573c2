"""The figures and the pages of the documentation, made from bench/results."""
def draw(name, rows): pass
def write(names): pass
