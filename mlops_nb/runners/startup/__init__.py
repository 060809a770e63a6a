"""The start-up script of machines: shell and systemd units, made by one generator."""
