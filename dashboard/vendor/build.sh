#!/bin/sh
# Rebuilds dashboard/static/vendor from package-lock.json. Maintainers only; the output is committed.
#   build.sh          build what the lock says
#   build.sh --lock   after a change of package.json: resolve anew, then build
set -eu
cd "$(dirname "$0")"
out=../static/vendor
[ "${1:-}" = --lock ] && npm install --package-lock-only --ignore-scripts --no-audit --no-fund
# The lock holds versions and hashes, not the host they came from: any registry serves the same bytes.
sed -i '/^ *"resolved": /d' package-lock.json
npm ci --ignore-scripts --no-audit --no-fund
mkdir -p "$out"
for name in lit md hl; do
  npx --no-install esbuild "src/$name.js" --bundle --minify --format=esm --target=es2022 \
    --legal-comments=none --outfile="$out/$name.js"
done
node manifest.mjs "$out"
cp node_modules/axe-core/axe.min.js ../../tests/fixtures/vendor/axe.min.js
npm run --silent check
