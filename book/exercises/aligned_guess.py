# %% question
"""
ReMixMatch: of the labels a third is neutral, a third happy, a third sad; the guesses so far were 60, 30 and 10 %. A
guess of (0.5, 0.3, 0.2) is aligned with the labels, and not yet sharpened. What is it then?
"""

# %% stub
guess = [0.5, 0.3, 0.2]
aligned = guess

# %% solution
guess = [0.5, 0.3, 0.2]
turned = [q / 3 / said for q, said in zip(guess, [0.6, 0.3, 0.1], strict=True)]
aligned = [value / sum(turned) for value in turned]

# %% check
assert abs(sum(aligned) - 1) < 1e-9
assert abs(aligned[0] - 0.2173913) < 1e-6
assert abs(aligned[2] - 0.5217391) < 1e-6
