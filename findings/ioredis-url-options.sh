#!/usr/bin/env bash
# ioredis 6.0.0.
#
# Guess: options that a program passes beside a URL beat those of the URL's query, as defaults of an operator would be
# beaten; and `?enableOfflineQueue=false` in a URL means what `enableOfflineQueue: false` means in code.
# Seen: the URL beats the program, its path (the database) included. Every value of the query stays a string, so that
# "false" is true: the offline queue of such a client is on, and a command without a connection waits instead of failing
# at once. `commandTimeout` is the string "7".
#
# Fails if that changes. Needs Node.js 20 or later and npm. Connects to nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y > /dev/null
npm install --silent --no-audit --no-fund --ignore-scripts ioredis@6.0.0
cat > look.cjs <<'JS'
const { Redis } = require('ioredis');
const url = 'redis://127.0.0.1:6379/3?commandTimeout=7&enableOfflineQueue=false';
const client = new Redis(url, { db: 0, commandTimeout: 1500, enableOfflineQueue: true, lazyConnect: true });
const { db, commandTimeout, enableOfflineQueue } = client.options;
const inCode = new Redis('redis://127.0.0.1:6379', { enableOfflineQueue: false, lazyConnect: true });
console.log(JSON.stringify({
  db, commandTimeout, enableOfflineQueue,
  queues: Boolean(enableOfflineQueue),
  queues_with_false_in_code: Boolean(inCode.options.enableOfflineQueue),
}));
JS
seen=$(node look.cjs)
echo "$seen"
[ "$seen" = '{"db":3,"commandTimeout":"7","enableOfflineQueue":"false","queues":true,"queues_with_false_in_code":false}' ] || {
  echo "this has changed"
  exit 1
}
echo "as it was: a URL beats the program's options, and its values are strings"
