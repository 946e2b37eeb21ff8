#!/usr/bin/env bash
# Exports orders to a file, completely or not at all.
#   ROWLINK_URL=https://shop.example.com ROWLINK_TOKEN=rlk_… export.sh orders.csv
set -euo pipefail
file=${1:?expected a file name}

# Secrets are passed through pipes: other users of this machine can read arguments.
answer=$(curl --fail-with-body --silent --show-error "$ROWLINK_URL/v1/links" \
  --header @<(echo "Authorization: Bearer $ROWLINK_TOKEN") --header 'Content-Type: application/json' \
  --data '{"export": "orders", "format": "csv", "filters": {"from": "2026-01-01"}, "end_line": true}') ||
  { echo "$answer" >&2; exit 1; }
url=$(sed -E 's/.*"url":"([^"]+)".*/\1/' <<<"$answer")

# The URL is a credential too. If the download is truncated, curl and the script fail before the file gets its name.
curl --fail --silent --show-error --output "$file.part" --config <(printf 'url = "%s"\n' "$url")
rowlink check-file "$file.part"
# Removes the integrity line.
sed '$ d' "$file.part" >"$file.complete"
mv "$file.complete" "$file" && rm "$file.part"
