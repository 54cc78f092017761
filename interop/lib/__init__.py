"""What the judges share: fetching foreign clients, starting clusters, keeping score."""
