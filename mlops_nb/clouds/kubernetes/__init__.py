"""Kubernetes as a cloud: a runner is a Job of one pod that may not restart, with a Secret that it owns; nothing else is made."""
