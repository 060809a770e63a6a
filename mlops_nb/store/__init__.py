"""Tracking stores: one contract, kept in a database or spoken over HTTP."""
