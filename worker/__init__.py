"""The top floor: keeps events moving. Knows of markets only what `handlers` says."""
