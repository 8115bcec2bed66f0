"""The pages of the hub that are ours: the spawn form, and what is read back from it."""
