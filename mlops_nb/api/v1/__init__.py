"""Our own REST API: what the sidebar, `store.rest` and scripts use."""
