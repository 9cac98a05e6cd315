import { statSync } from 'node:fs';
import type { Logger } from './log.ts';
import { every, type Service } from './service.ts';

/** How long it may take to notice a change. */
const LOOK_MS = 2_000;

/** The content of files, as they are now. */
export interface Watched<T> extends Service {
  readonly current: T;
}

/**
 * Reads files, and reads them again when one of them has changed or the process gets SIGHUP. Throws what
 * `read` throws the first time. If a later change cannot be read, the error is logged, and the previous
 * content stays.
 */
export function watchFiles<T>(options: {
  readonly name: string;
  readonly paths: readonly string[];
  readonly read: () => T;
  readonly log: Logger;
  /** Called with the result of a later read. */
  readonly onChange?: (found: T) => void;
}): Watched<T> {
  const { name, paths, read, log, onChange } = options;
  let seen = stampOf(paths);
  let current = read();
  const reread = (): void => {
    seen = stampOf(paths);
    try {
      current = read();
      onChange?.(current);
      log.info({ files: paths }, `${name}: read again`);
    } catch (err) {
      log.error({ err, files: paths }, `${name}: the change can't be used; what was read before stays`);
    }
  };
  const looking = every(name, LOOK_MS, { log }, async () => {
    if (stampOf(paths) !== seen) reread();
  });
  process.on('SIGHUP', reread);
  return {
    name,
    get current() {
      return current;
    },
    async stop() {
      process.off('SIGHUP', reread);
      await looking.stop();
    },
  };
}

/**
 * A text that differs after any change, including a change by a rename or by a new link, which is how
 * Kubernetes replaces secrets.
 */
function stampOf(paths: readonly string[]): string {
  return paths
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false });
      return stat ? `${stat.ino}:${stat.size}:${stat.mtimeMs}` : 'missing';
    })
    .join(' ');
}
