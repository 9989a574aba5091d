"""Statistics of an account as traders know them. Pure: deals and equity points in, figures out.

`docs/statistics.md` has the definition of every figure.
"""
