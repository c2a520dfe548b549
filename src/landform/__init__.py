"""The Riemannian geometry that data and generative models induce.

A **metric** is a function from a point to a symmetric positive-definite matrix, a **curve** is a
function of t in [0, 1], and a **solver** turns a metric and boundary data into a curve and a status.
Everything else (exp, log, means, distributions, walks, clustering) calls those three.
"""

__version__ = "0.1.0"
