"""How a client's history reaches Dify: one file per memory mode, one table."""
