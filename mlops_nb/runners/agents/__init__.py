"""CI agents on a runner: registering them at a forge, running them, and telling by them whether there is a job."""
