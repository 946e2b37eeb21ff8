#!/usr/bin/env bash
# Renders the documentation as a site with mdBook: build.sh FOLDER. Replaces the contents of the folder.
set -euo pipefail
site=$(realpath --canonicalize-missing "$1")
cd "$(dirname "$0")/../.."
tools=target/test-tools
book=$(mktemp -d)
trap 'rm -r "$book"' EXIT
mkdir -p "$book/src/swagger-ui"

# Pages keep their paths, so relative links work on the site as in the repository. Only files that git tracks are
# copied: deploy/docker/secrets is not for publication.
git ls-files -z -- '*.md' ':!docs/site' openapi.yaml 'LICENSE-*' 'docs/images/*.png' clients deploy 'src/texts/*.toml' \
  tests/vectors | xargs -0 cp --parents -t "$book/src"

# A code host lists the files of a linked folder. On the site a page does, under the name that this file has.
rm "$book"/src/clients/js/examples/*/index.html
for folder in clients/js/examples/{ag-grid,mui-data-grid,react,svelte,tanstack-table,vue} deploy/{docker,k8s} src/texts; do
  (
    cd "$book/src/$folder"
    files=$(find . -type f -printf '%P\n' | LC_ALL=C sort)
    { printf '# %s\n\n' "$folder" && sed 's/.*/- [`&`](&)/' <<<"$files"; } >README.md
  )
done

# mdBook renders README.md as index.html, but does not change links to it.
find "$book/src" -name '*.md' -exec sed -E -i 's/(\]\([^)]*)README\.md/\1index.md/g' {} +

# The contract is a script, because a page that is opened from disk cannot read other files.
cp "$tools"/swagger-ui/{LICENSE,NOTICE,swagger-ui.css,swagger-ui-bundle.js{,.LICENSE.txt}} "$book/src/swagger-ui"
jq -Rrs '"const openapi = \(@json);"' openapi.yaml >"$book/src/swagger-ui/openapi.js"

cp -r docs/site/{book.toml,site.css,theme} "$book"
cp docs/site/{SUMMARY.md,reference.md,reference.js} "$book/src"
"$tools/mdbook" build "$book" --dest-dir "$site"
