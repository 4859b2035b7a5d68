"""One file for each published data set, or for the columns of a tool. Each holds one `SCHEMA`, named like the file."""
