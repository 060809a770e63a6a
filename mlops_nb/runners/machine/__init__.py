"""The agent on a runner's machine: one loop that keeps the machine alive while it has work, and ends it when it has none."""
