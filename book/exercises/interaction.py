# %% question
"""
Class means of a run with neither of two losses, with the first, with the second and with both. Write the *main effect* of the
first, the mean of its two gains, and the interaction as a difference of these gains.
"""

# %% stub
neither, first, second, both = 60.0, 62.0, 65.0, 66.0
main_effect = first - neither
interaction = 0.0

# %% solution
neither, first, second, both = 60.0, 62.0, 65.0, 66.0
gain_alone, gain_beside = first - neither, both - second
main_effect = (gain_alone + gain_beside) / 2
interaction = gain_beside - gain_alone

# %% check
assert main_effect == 1.5
assert interaction == -1.0
