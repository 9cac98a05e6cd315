import { alterSystem, readAutoConf, writeAutoConf } from '../auto-conf.ts';
import type { Places } from '../settings.ts';
import { type Login, PATIENT, withClient } from '../sql.ts';

interface Deps {
  readonly places: Places;
  readonly login: Login;
  readonly isRunning: () => Promise<boolean>;
}

/** Settings as `ALTER SYSTEM` makes them, also of a server that is down. */
export class AlterSystem {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** The value in `postgresql.auto.conf`; null if the file has none. */
  async valueOf(name: string): Promise<string | null> {
    return (await readAutoConf(this.#deps.places)).get(name) ?? null;
  }

  /** Null resets the setting. */
  async set(name: string, value: string | null): Promise<void> {
    const { places, login, isRunning } = this.#deps;
    if (!(await isRunning())) return await writeAutoConf(places, name, value);
    await withClient(login, PATIENT, (client) => alterSystem(client, name, value));
  }
}
