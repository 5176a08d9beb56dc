# %% question
"""
Two seeds draw $m$ of the $n$ images of a class. How many of the images are expected in both draws? In which class of a
long-tailed set do all seeds draw the same faces?
"""

# %% stub
def shared(m, n):
    return m


varies = {"rarest": True, "most frequent": True}

# %% solution
def shared(m, n):
    return m * m / n  # each of the first draw's m is in the second with a chance of m / n


# Where a draw takes the whole class, m = n, there is nothing left to draw.
varies = {"rarest": False, "most frequent": True}

# %% check
assert shared(70, 70) == 70
assert shared(70, 700) == 7
assert varies == {"rarest": False, "most frequent": True}
