#!/usr/bin/env bash
# Takes the README's screenshots of the demo page in Chromium.
set -euo pipefail
cd "$(dirname "$0")/../.."
welcome=$(mktemp)
target/dist/rowlink demo --bind 127.0.0.1:0 >"$welcome" 2>/dev/null &
demo=$!
trap 'kill -INT $demo; wait $demo; rm "$welcome"' EXIT
until origin=$(grep -oE 'sample orders at http://[0-9.:]+' "$welcome" | grep -oE 'http.*'); do kill -0 $demo && sleep 0.1; done
node tests/it/browser/run.mjs "{\"screenshots\": {\"origin\": \"$origin\", \"folder\": \"$PWD/docs/images\"}}" \
  "$PWD/target/test-tools/browser"
