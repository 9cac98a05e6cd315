// @ts-check
// Imported first by every script: its siblings use what an older Node.js does not have.

const NEEDED = [20, 19];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
const isNewEnough = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
if (!isNewEnough) {
  process.stderr.write(
    `coffer: this is Node.js ${process.versions.node}; Coffer needs ${NEEDED.join('.')} or later.\n` +
      'Install a newer one (https://nodejs.org/en/download), then run the same command again.\n',
  );
  process.exit(1);
}
