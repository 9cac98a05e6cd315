/** Where the instances of a cluster stand in its drawing, and which instance replicates from which. Pure. */
import type { ClusterInstanceDocument } from '../../client/index.ts';
import type { Shape } from '../tones.ts';

export interface Spot {
  readonly instance: ClusterInstanceDocument;
  readonly x: number;
  readonly y: number;
}

export interface Arrow {
  readonly id: string;
  /** An SVG path from the primary to the replica. */
  readonly path: string;
  /** Where the lag is written. */
  readonly label: { readonly x: number; readonly y: number };
  readonly lag_bytes: number | null;
  /** Whether the replica is well: the drawing shows no flow to a replica that is not. */
  readonly isLive: boolean;
}

interface Topology {
  readonly width: number;
  readonly height: number;
  readonly spots: readonly Spot[];
  readonly arrows: readonly Arrow[];
}

export const NODE = { wide: { width: 268, height: 78 }, narrow: { width: 300, height: 78 } } as const;
const GAP = 18;
/** The horizontal room for the arrows in a wide drawing. */
const WIDE = 800;
const INDENT = 44;

export function topologyOf(instances: readonly ClusterInstanceDocument[], shape: Shape): Topology {
  const primaries = instances.filter(({ role }) => role === 'primary');
  const [primary] = primaries;
  if (!primary || primaries.length > 1) return grid(instances, shape);
  const others = instances.filter(({ id }) => id !== primary.id);
  return shape === 'wide' ? beside(primary, others) : below(primary, others);
}

/** For instances that are all alike, or where the primary is not known: rows without arrows. */
function grid(instances: readonly ClusterInstanceDocument[], shape: Shape): Topology {
  const { width, height } = NODE[shape];
  const columns = shape === 'wide' ? Math.max(1, Math.min(3, instances.length)) : 1;
  const gap = shape === 'wide' && columns > 1 ? (WIDE + 60 - columns * width) / (columns - 1) : 0;
  const rows = Math.ceil(instances.length / columns);
  return {
    width: shape === 'wide' ? WIDE + 60 : width,
    height: rows * (height + GAP) - GAP,
    spots: instances.map((instance, index) => ({
      instance,
      x: (index % columns) * (width + gap),
      y: Math.floor(index / columns) * (height + GAP),
    })),
    arrows: [],
  };
}

/** The primary stands on the left, at half the height; the others stand on the right. */
function beside(primary: ClusterInstanceDocument, others: readonly ClusterInstanceDocument[]): Topology {
  const { width, height } = NODE.wide;
  const rows = Math.max(1, others.length);
  const total = rows * (height + GAP) - GAP;
  const from = { x: width, y: total / 2 };
  const right = WIDE + 60 - width;
  const spots = others.map((instance, index) => ({ instance, x: right, y: index * (height + GAP) }));
  return {
    width: WIDE + 60,
    height: total,
    spots: [{ instance: primary, x: 0, y: (total - height) / 2 }, ...spots],
    arrows: spots.filter(isReplicaOf(primary)).map(({ instance, x, y }) => {
      const end = { x: x - 9, y: y + height / 2 };
      const middle = (from.x + end.x) / 2;
      return {
        ...arrowTo(instance),
        path: `M${from.x} ${from.y} C${middle} ${from.y} ${middle} ${end.y} ${end.x} ${end.y}`,
        // The label stands on the outer side of the curve.
        label: { x: middle + (end.x - middle) * 0.42, y: end.y + (end.y > from.y ? 22 : -12) },
      };
    }),
  };
}

/** The primary stands at the top; the others stand below it, each connected by an elbow line. */
function below(primary: ClusterInstanceDocument, others: readonly ClusterInstanceDocument[]): Topology {
  const { width, height } = NODE.narrow;
  const spots = others.map((instance, index) => ({
    instance,
    x: INDENT,
    y: (index + 1) * (height + GAP + 10),
  }));
  return {
    width: width + INDENT,
    height: (others.length + 1) * (height + GAP + 10) - GAP - 10,
    spots: [{ instance: primary, x: 0, y: 0 }, ...spots],
    arrows: spots.filter(isReplicaOf(primary)).map(({ instance, x, y }) => {
      const end = y + height / 2;
      return {
        ...arrowTo(instance),
        path: `M20 ${height} V${end - 12} Q20 ${end} 32 ${end} H${x - 9}`,
        label: { x: x + width / 2, y: y - 8 },
      };
    }),
  };
}

/**
 * A server may not report which server it follows. A server that follows a replica gets no arrow from the
 * primary.
 */
function isReplicaOf(primary: ClusterInstanceDocument): (spot: Spot) => boolean {
  return ({ instance: { role, replica_of } }) =>
    role === 'replica' && (replica_of === undefined || replica_of.id === primary.id);
}

function arrowTo({ id, lag_bytes, status }: ClusterInstanceDocument) {
  return { id, lag_bytes, isLive: status === 'ACTIVE' };
}

/** The same in words, for users who cannot see the drawing. */
export function topologyText(instances: readonly ClusterInstanceDocument[]): string {
  const primaries = instances.filter(({ role }) => role === 'primary').map(({ name }) => name);
  const replicas = instances.filter(({ role }) => role === 'replica');
  if (primaries.length === 0 && replicas.length === 0) return `${instances.length} instances side by side`;
  const leader = primaries.length > 0 ? primaries.join(' and ') : 'no primary';
  if (replicas.length === 0) return `${leader} is the primary`;
  const sourceOf = ({ replica_of }: ClusterInstanceDocument) =>
    instances.find(({ id }) => id === replica_of?.id)?.name ?? leader;
  const sources = [...new Set(replicas.map(sourceOf))];
  return sources
    .map((source) => {
      const names = replicas.filter((replica) => sourceOf(replica) === source).map(({ name }) => name);
      return `${names.join(', ')} ${names.length === 1 ? 'replicates' : 'replicate'} from ${source}`;
    })
    .join('; ');
}
