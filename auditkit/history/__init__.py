"""What was meant: migration files, ledgers, and their replay in a shadow database."""
