#!/usr/bin/env bash
# Type-checks the package through a link named `crossaisle`: mypy names the package after its folder, and a clone may be called anything.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
ln -s "$root" "$folder/crossaisle"
cd "$folder"
"$root/.venv/bin/mypy" --config-file "$root/pyproject.toml" --cache-dir "$root/.mypy_cache" -p crossaisle
