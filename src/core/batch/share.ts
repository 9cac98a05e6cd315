/**
 * How batches share the places that all batches have together: evenly among tenants, and a tenant's places
 * evenly among its batches. A batch or tenant that needs less than an even share leaves the rest to the
 * others.
 */

/** How many places a batch has, and how many it could use. */
export interface Load {
  readonly batch_id: string;
  readonly tenant_id: string;
  readonly running: number;
  /** Including `running`. */
  readonly wants: number;
}

/** How many places a batch is entitled to. The shares of all batches together never exceed `total`. */
export function shareOf(batch_id: string, loads: readonly Load[], total: number): number {
  const tenants = new Map<string, Load[]>();
  for (const load of loads) tenants.set(load.tenant_id, [...(tenants.get(load.tenant_id) ?? []), load]);
  const mine = loads.find((load) => load.batch_id === batch_id);
  if (!mine) return 0;
  const demands = [...tenants].map(([id, own]) => ({
    id,
    wants: own.reduce((sum, { wants }) => sum + wants, 0),
  }));
  const ofTenant = evenly(demands, total).get(mine.tenant_id) ?? 0;
  const own = (tenants.get(mine.tenant_id) ?? []).map((load) => ({ id: load.batch_id, wants: load.wants }));
  return evenly(own, ofTenant).get(batch_id) ?? 0;
}

/** How many upgrades a batch may begin now: its share, but no more than the free places. */
export function mayBegin(batch_id: string, loads: readonly Load[], total: number): number {
  const running = loads.find((load) => load.batch_id === batch_id)?.running ?? 0;
  const free = total - loads.reduce((sum, load) => sum + load.running, 0);
  return Math.max(0, Math.min(shareOf(batch_id, loads, total) - running, free));
}

interface Demand {
  readonly id: string;
  readonly wants: number;
}

/**
 * Serves the smallest demands first: the others share what these leave. Equal demands are served in the order
 * of their ids.
 */
function evenly(demands: readonly Demand[], total: number): ReadonlyMap<string, number> {
  const order = demands.toSorted((a, b) => a.wants - b.wants || (a.id < b.id ? -1 : 1));
  const given = new Map<string, number>();
  let left = total;
  for (const [index, { id, wants }] of order.entries()) {
    const even = Math.ceil(left / (order.length - index));
    const part = Math.min(wants, even, left);
    given.set(id, part);
    left -= part;
  }
  return given;
}
