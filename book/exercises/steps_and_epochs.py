# %% question
"""
The paper trains 180,000 steps of 32 labelled images on a draw of 28,608. How often is each label seen, and how many
unlabelled images are seen if there are 32 in a step?
"""

# %% stub
passes_over_labels = 0.0
unlabelled_seen = 0

# %% solution
passes_over_labels = 180_000 * 32 / 28_608
unlabelled_seen = 180_000 * 32

# %% check
assert abs(passes_over_labels - 201.3) < 0.1
assert unlabelled_seen == 5_760_000  # a fiftieth of WebFace260M
