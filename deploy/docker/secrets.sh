#!/usr/bin/env bash
# Creates the files that compose.yaml mounts: secrets, a sample export and its table. Prints the API key only once.
set -euo pipefail
cd "$(dirname "$0")"
if command -v rowlink >/dev/null; then
  keygen() { rowlink keygen "$@"; }
elif command -v docker >/dev/null; then
  docker build --quiet --tag rowlink --file Dockerfile ../.. >/dev/null
  keygen() { docker run --rm rowlink keygen "$@"; }
else
  echo 'secrets.sh: needs `rowlink` or `docker`' >&2
  exit 1
fi
umask 077
mkdir -p secrets
# Under the names only once they are complete: an empty file of keys would be mounted, and refused.
keygen --id k1 >secrets/signing-keys.new
keygen --api-key demo >secrets/api-keys.new
mv secrets/signing-keys.new secrets/signing-keys
mv secrets/api-keys.new secrets/api-keys
password=$(head -c 24 /dev/urandom | base64 | tr '+/' '-_')
printf '%s' "$password" >secrets/postgres-password
printf 'postgres://postgres:%s@postgres/shop' "$password" >secrets/database-url
# The user of the image, another UID, must be able to read them.
chmod 644 secrets/*
umask 022
mkdir -p exports
cat >shop.sql <<'SQL'
create table orders (id int primary key, user_id text, status text, amount numeric(12, 2), created_at timestamptz);
insert into orders
select n, 'demo', (array ['pending', 'paid', 'refunded'])[1 + n % 3], n % 1000 + 0.99, timestamptz '2026-01-01' + n * interval '1 minute'
from generate_series(1, 500000) as n;
SQL
cat >exports/orders.sql <<'SQL'
/*---
title = "Orders"

[filters.from]
type = "date"
required = true

[filters.status]
type = "text"
values = ["pending", "paid", "refunded"]
list = true
---*/
select id, created_at, status, amount
from orders
where user_id = :user
  and created_at >= :from
  and (:status is null or status = any(:status))
order by id
SQL
