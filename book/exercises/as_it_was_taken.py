# %% question
"""
Which fraction of a batch's images does the network see as they were taken, if each is mirrored with a chance of a
half and cropped at random to one of $n \\times n$ places, one of which is the middle? Write it for any $n$.
"""

# %% stub
def as_taken(n):
    return 1 / 2

# %% solution
def as_taken(n):
    return 1 / 2 / n**2  # not mirrored, and cropped in the middle

# %% check
assert as_taken(1) == 1 / 2
assert as_taken(2) == 1 / 8
assert abs(as_taken(17) - 1 / 578) < 1e-12  # 64 px cropped to 48
