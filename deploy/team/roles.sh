#!/bin/sh
# A role and a database for each server; PostgreSQL's image runs this once, when it makes the cluster.
set -eu
for name in prefect mlflow; do
  eval "secret=\$$(echo "$name" | tr a-z A-Z)_PASSWORD"
  psql --set ON_ERROR_STOP=1 --set role="$name" --set secret="$secret" --username "$POSTGRES_USER" postgres <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'secret';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
done
