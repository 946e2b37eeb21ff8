#!/usr/bin/env bash
# Exports orders to a file: whole, or not at all.
#   ROWLINK_URL=https://shop.example.com ROWLINK_TOKEN=rlk_… export.sh orders.csv
set -euo pipefail
file=${1:?the name of the file}

# Secrets go in by pipes: an argument could be seen by others on this machine.
answer=$(curl --fail-with-body --silent --show-error "$ROWLINK_URL/v1/links" \
  --header @<(echo "Authorization: Bearer $ROWLINK_TOKEN") --header 'Content-Type: application/json' \
  --data '{"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}, "end_line": true}') ||
  { echo "$answer" >&2; exit 1; }
url=$(sed -E 's/.*"url":"([^"]+)".*/\1/' <<<"$answer")

# The URL is a credential too. curl fails where the download is cut, and the script with it, before the file has its
# name.
curl --fail --silent --show-error --output "$file.part" --config <(printf 'url = "%s"\n' "$url")
rowlink check-file "$file.part"
# Without the line that proved it.
sed '$ d' "$file.part" >"$file.whole"
mv "$file.whole" "$file" && rm "$file.part"
