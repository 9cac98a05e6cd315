// The server of a made-up datastore: one value, in a file. Its releases differ by their number alone; 1.9 is broken, and 1.8 never answers.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { text } from 'node:stream/consumers';

const [version = '', port, file = ''] = process.argv.slice(2);
if (version === '1.9') {
  console.error('this release does not start');
  process.exit(1);
}
const server = createServer(async (request, response) => {
  if (request.method === 'PUT') writeFileSync(file, await text(request));
  const value = existsSync(file) ? readFileSync(file, 'utf8') : '';
  response.setHeader('connection', 'close');
  response.end(JSON.stringify({ version, process: process.pid, value }));
});
if (version === '1.8') setInterval(() => undefined, 60_000);
else server.listen(Number(port), '127.0.0.1');
