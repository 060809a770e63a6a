"""The pure domain: records, run states, events, selectors, filters, comparison. No I/O."""
