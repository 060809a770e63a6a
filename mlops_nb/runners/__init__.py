"""Runners: how they are launched, watched and ended, and what works on their machines."""
