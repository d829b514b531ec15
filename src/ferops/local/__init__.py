"""The servers on this machine: Prefect, its worker, MLflow."""
