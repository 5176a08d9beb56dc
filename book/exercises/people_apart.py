# %% question
"""
Files are called `class/person-number.jpg`. Split them into a training and a validation part so that nobody is in both.
"""

# %% stub
files = [f"{name}/{person}-{i}.jpg" for name in ("happy", "sad") for person in "abcde" for i in (0, 1)]
val = files[::5]
train = [file for file in files if file not in val]

# %% solution
files = [f"{name}/{person}-{i}.jpg" for name in ("happy", "sad") for person in "abcde" for i in (0, 1)]
val = [file for file in files if file.split("/")[1].startswith("e-")]
train = [file for file in files if file not in val]

# %% check
def people(part):
    return {file.split("/")[1].split("-")[0] for file in part}


assert val
assert not people(train) & people(val)
assert len(train) + len(val) == 20
