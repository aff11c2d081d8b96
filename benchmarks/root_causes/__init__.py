"""What benchmarks/root_cause.py is made of: histories, ledgers, injuries with their truth, scores."""
