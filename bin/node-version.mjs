// @ts-check
// Every script and command imports this file first: the other files use features that an older Node.js lacks.

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);

if (major < 20 || (major === 20 && minor < 19)) {
  process.stderr.write(
    `coffer: this is Node.js ${process.versions.node}; Coffer needs 20.19 or later.\n` +
      'Install a newer one (https://nodejs.org/en/download), then run the same command again.\n',
  );
  process.exit(1);
}
