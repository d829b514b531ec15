"""MLflow: runs, gates, versions and aliases."""
