import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { librariesIn } from '../../guestagent/drivers/postgresql/adopted/host-binaries.ts';
import { controlText, readHostFile } from '../../guestagent/drivers/postgresql/adopted/host-file.ts';
import { parseAutoConf, withSetting } from '../../guestagent/drivers/postgresql/auto-conf.ts';
import {
  formatConninfo,
  parseConninfo,
  pointedAt,
  withoutSecrets,
} from '../../guestagent/drivers/postgresql/conninfo.ts';

describe('primary_conninfo of an operator', () => {
  const TEXT = String.raw`user=replicator password='it\'s \\ secret' host='db 1' hostaddr=10.0.0.1 sslmode=verify-full port=5433`;

  it('keeps all but host and port when it is pointed at another server', () => {
    const conninfo = parseConninfo(TEXT);
    if (conninfo === null) throw new Error('not understood');
    const next = pointedAt(conninfo, { host: '10.0.0.2', port: 5432 });
    const again = parseConninfo(formatConninfo(next));
    expect(Object.fromEntries(again ?? [])).toEqual({
      ...{ host: '10.0.0.2', port: '5432', user: 'replicator', sslmode: 'verify-full' },
      password: String.raw`it's \ secret`,
    });
    expect(withoutSecrets(conninfo)).not.toContain('secret');
  });

  it.each(['postgresql://a@b/c', 'host', "host='open", '= x'])('is not understood as %s', (text) => {
    expect(parseConninfo(text)).toBeNull();
  });

  it('replaces its own line of postgresql.auto.conf, and no other', () => {
    const text =
      "# Do not edit\nwork_mem = '5MB'\nprimary_conninfo = 'host=a'\nPRIMARY_CONNINFO = 'host=b'\n";
    const set = withSetting(text, 'primary_conninfo', String.raw`host='c' password='it\'s'`);
    expect(set).toContain("# Do not edit\nwork_mem = '5MB'\n");
    expect(parseAutoConf(set).get('primary_conninfo')).toBe(String.raw`host='c' password='it\'s'`);
    expect(withSetting(text, 'primary_conninfo', null)).toBe("# Do not edit\nwork_mem = '5MB'\n");
  });
});

describe('shared_preload_libraries', () => {
  it('is a list of names, with or without quotes', () => {
    expect(librariesIn('')).toEqual([]);
    expect(librariesIn('pg_stat_statements, "$libdir/auto_explain"')).toEqual([
      'pg_stat_statements',
      '$libdir/auto_explain',
    ]);
  });
});

describe('the file of a host', () => {
  let folder = '';
  let good: Record<string, unknown> = {};

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'coffer-host-'));
    mkdirSync(join(folder, 'data'));
    mkdirSync(join(folder, 'bin'));
    for (const name of ['data/PG_VERSION', 'data/postgresql.conf']) writeFileSync(join(folder, name), '15\n');
    for (const name of ['postgres', 'pg_ctl']) {
      writeFileSync(join(folder, 'bin', name), '#!/bin/sh\n');
      chmodSync(join(folder, 'bin', name), 0o755);
    }
    good = {
      data_directory: join(folder, 'data'),
      log_file: join(folder, 'log'),
      control: 'pg_ctl',
      versions: { '15.18': join(folder, 'bin') },
      login: { host: '/run/postgresql' },
    };
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function read(content: object, mode = 0o600) {
    const path = join(folder, 'host.yaml');
    writeFileSync(path, JSON.stringify(content));
    chmodSync(path, mode);
    return readHostFile(path);
  }

  it('has defaults where Debian and PostgreSQL have them', () => {
    expect(read(good)).toMatchObject({
      config_file: join(folder, 'data', 'postgresql.conf'),
      login: { user: 'postgres' },
      packages: null,
    });
    const { log_file: _, ...rest } = good;
    const debian = read({ ...rest, control: { pg_ctlcluster: '15 main' } });
    expect(debian.log_file).toBe('/var/log/postgresql/postgresql-15-main.log');
    expect(controlText(debian.control)).toBe('pg_ctlcluster 15 main');
  });

  it.each<[string, (host: Record<string, unknown>) => object, string]>([
    [
      'a data directory that is none',
      (host) => ({ ...host, data_directory: '/tmp' }),
      'is not a data directory of PostgreSQL',
    ],
    ['a relative path', (host) => ({ ...host, data_directory: 'data' }), 'must be an absolute path'],
    ['no binaries', ({ versions: _, ...host }) => host, 'must have either versions'],
    [
      'a folder without binaries',
      (host) => ({ ...host, versions: { '15.18': '/tmp' } }),
      'there is no program /tmp/postgres',
    ],
    [
      'a version that is none',
      (host) => ({ ...host, versions: { new: '/tmp' } }),
      'must have versions such as',
    ],
    ['a word that it does not know', (host) => ({ ...host, data_dir: '/x' }), 'data_dir'],
    ['another way to start', (host) => ({ ...host, control: 'initd' }), 'must be pg_ctl, or one of'],
    [
      'a unit with folders',
      (host) => ({ ...host, control: { systemd: 'postgresql' } }),
      'it needs packages instead of versions',
    ],
    ['pg_ctl without a log', ({ log_file: _, ...host }) => host, 'must name log_file'],
    [
      'tls through a socket',
      (host) => ({ ...host, login: { host: '/run', tls: {} } }),
      'has tls for a login through a socket',
    ],
    [
      'half a certificate',
      (host) => ({ ...host, login: { host: 'db', tls: { cert: '/x' } } }),
      'must have both cert and key',
    ],
    [
      'a password file that is missing',
      (host) => ({ ...host, login: { host: 'db', password_file: '/none' } }),
      'there is no file /none',
    ],
    [
      'a command that is missing',
      (host) => ({ ...host, control: { start: ['/none'], stop: ['/none'] } }),
      'control.start: there is no program /none',
    ],
  ])('is refused with %s, in a sentence', (_, change, words) => {
    expect(() => read(change(good))).toThrow(words);
  });

  it('is refused if somebody else can change it', () => {
    expect(() => read(good, 0o666)).toThrow('chmod go-w');
  });
});
