# %% [markdown]
# # Planted answers of `00_start`
#
# Each cell is what a student could have in the cell of that answer, and `points` is what it must get. `README.md` tells how they are used, `../GUIDE.md` what to say to a student.

# %% answer="00.seconds_per_picture" case="batch-forgotten" points=0
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    return call_s * num_steps


# %% answer="00.seconds_per_picture" case="batch-multiplied" points=0
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    return call_s * num_steps * batch_size


# %% answer="00.seconds_per_picture" case="whole-division" points=0
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    return call_s * num_steps // batch_size


# %% answer="00.seconds_per_picture" case="name-typed-wrong" points=0
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    return call_s * num_step / batch_size


# %% answer="00.seconds_per_picture" case="calls-added-up" points=1
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    total_s = sum(call_s for _ in range(num_steps))
    return total_s / batch_size


# %% answer="00.seconds_per_picture" case="rate-first" points=1
def seconds_per_picture(call_s, num_steps, batch_size):
    """Seconds for one picture: a call takes call_s, serves batch_size pictures, and num_steps of them are needed."""
    img_per_s = batch_size / (num_steps * call_s)
    return torch.tensor(1 / img_per_s, dtype=torch.float64)
