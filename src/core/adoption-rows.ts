/** What the report on an adopted server says, as rows for people: for the command line and the dashboard. */
import type { AdoptedServer, AdoptionHost } from './adoption.ts';

type Found = readonly [what: string, value: string, from: string];

/** What was found on one host. Lists that are empty are left out. */
export function foundRows(host: AdoptionHost, server: AdoptedServer | null): readonly Found[] {
  const file = 'the file of its host';
  return [
    ['start and stop', host.control, file],
    ['login', host.login, file],
    ...host.versions.map(({ version, from }): Found => [`binaries of ${version}`, from, file]),
    ...(server ? serverRows(server) : []),
  ];
}

function serverRows(server: AdoptedServer): readonly Found[] {
  const slots = server.slots.map(
    ({ name, type, active }) => `${name} (${type}${active ? '' : ', not in use'})`,
  );
  const extensions = server.extensions.map(
    ({ database, name, version }) => `${name} ${version} in ${database}`,
  );
  const tablespaces = server.tablespaces.map(({ name, location }) => `${name} in ${location}`);
  const said: readonly (readonly [what: string, value: string])[] = [
    ['release', server.full_version],
    ['data directory', server.data_directory],
    ['configuration', server.config_file],
    ['data checksums', server.data_checksums ? 'on' : 'off'],
    ['sockets', server.socket_directories.join(', ')],
    ['replication slots', slots.join(', ')],
    ['extensions', extensions.join(', ')],
    ['preload libraries', server.preload_libraries.join(', ')],
    ['tablespaces', tablespaces.join(', ')],
    ['synchronous standbys', server.synchronous_standby_names],
    ['log archived by', server.archive_program ?? ''],
  ];
  return [
    ...said.filter(([, value]) => value !== '').map(([what, value]): Found => [what, value, 'the server']),
    ...server.settings.map(({ name, value, source }): Found => [name, value, source]),
  ];
}
