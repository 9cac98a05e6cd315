import { type Endpoint, sameEndpoint } from '../../../../src/core/domain.ts';
import { exists } from '../../../../src/files.ts';
import { PermanentError } from '../../../driver.ts';
import { type Conninfo, endpointIn, formatConninfo, parseConninfo, pointedAt } from '../conninfo.ts';
import type { Places } from '../settings.ts';
import type { AlterSystem } from './alter-system.ts';
import { type Memory, recall } from './memory.ts';

/**
 * Which server an adopted server follows: the one setting that Coffer makes on a standby. It is
 * `primary_conninfo` in `postgresql.auto.conf`.
 */
const NAME = 'primary_conninfo';

interface Deps {
  readonly places: Places;
  readonly stateDir: string;
  readonly settings: AlterSystem;
  /** What the operator's file says about replication; null if it says nothing. */
  readonly replication: string | null;
}

export class Following {
  readonly #deps: Deps;

  constructor(deps: Deps) {
    this.#deps = deps;
  }

  /** Changes nothing if the server is set to follow `primary` already. */
  async pointAt(primary: Endpoint): Promise<void> {
    const memory = await this.#memory();
    const present = (await this.inAutoConf()) ?? memory.conninfo;
    const target = endpointIn(present);
    if (target !== null && sameEndpoint(target, primary)) return;
    const before = endpointIn(memory.conninfo);
    if (before !== null && sameEndpoint(before, primary)) return await this.#set(memory.in_auto_conf);
    await this.#set(formatConninfo(pointedAt(this.#templateOf(memory), primary)));
  }

  /** Gives back the operator's line, unless the server would then follow another server than it does. */
  async giveBack(): Promise<'given back' | 'kept'> {
    const memory = await recall(this.#deps.stateDir);
    if (memory === null) return 'given back';
    const present = await this.inAutoConf();
    if (present === memory.in_auto_conf) return 'given back';
    const [now, before] = [present ?? memory.conninfo, memory.conninfo].map(endpointIn);
    const isSame = now != null && before != null && sameEndpoint(now, before);
    if (!isSame && (await exists(this.#deps.places.standbySignal))) return 'kept';
    await this.#set(memory.in_auto_conf);
    return 'given back';
  }

  /** User, credentials and name for replication. */
  #templateOf({ conninfo }: Memory): Conninfo {
    const text = conninfo === '' ? (this.#deps.replication ?? '') : conninfo;
    const template = parseConninfo(text);
    if (template !== null && template.size > 0) return template;
    throw new PermanentError(
      `this server can't follow another: it has no ${NAME} that could be continued, and the file of its host says ` +
        'nothing about replication',
    );
  }

  /** The line in `postgresql.auto.conf`; null if the file has none. */
  inAutoConf(): Promise<string | null> {
    return this.#deps.settings.valueOf(NAME);
  }

  async #memory(): Promise<Memory> {
    const memory = await recall(this.#deps.stateDir);
    if (memory === null) throw new Error('the server is not adopted yet');
    return memory;
  }

  #set(value: string | null): Promise<void> {
    return this.#deps.settings.set(NAME, value);
  }
}
