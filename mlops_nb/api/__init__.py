"""Every operation once: typed request and answer, declared permission, one function; mounts are derived from `api.table`."""
