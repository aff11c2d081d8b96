"""What to do about a finding. Plans with rehearsed SQL come later; remedies say which way to go."""
