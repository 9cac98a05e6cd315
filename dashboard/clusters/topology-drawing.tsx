import type { ClusterInstanceDocument } from '../../client/index.ts';
import { bytes } from '../format.ts';
import { useShape } from '../parts/shape.ts';
import type { Shape } from '../tones.ts';
import { INSTANCE_WORDS, troublesOf } from '../words.ts';
import { type Arrow, NODE, type Spot, topologyOf, topologyText } from './topology.ts';

/** The instances of a cluster as a drawing; a table below the drawing holds the same facts in words. */
export function TopologyDrawing({ instances }: { readonly instances: readonly ClusterInstanceDocument[] }) {
  const shape = useShape();
  const { width, height, spots, arrows } = topologyOf(instances, shape);
  const margin = 3;
  return (
    <svg
      className={`topology ${shape}`}
      viewBox={`${-margin} ${-margin} ${width + 2 * margin} ${height + 2 * margin}`}
      role="img"
      aria-label={topologyText(instances)}
    >
      <defs>
        <marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
          <path d="M1 1 7 4 1 7z" />
        </marker>
      </defs>
      {arrows.map((arrow) => (
        <ReplicationArrow key={arrow.id} arrow={arrow} />
      ))}
      {spots.map((spot) => (
        <InstanceNode key={spot.instance.id} spot={spot} shape={shape} />
      ))}
    </svg>
  );
}

function ReplicationArrow({ arrow: { path, label, lag_bytes, isLive } }: { readonly arrow: Arrow }) {
  return (
    <g className={isLive ? 'replication live' : 'replication'}>
      <path className="wire" d={path} markerEnd="url(#arrow)" />
      {isLive && <path className="flow" d={path} />}
      {lag_bytes !== null && (
        <text x={label.x} y={label.y} textAnchor="middle">
          {lag_bytes === 0 ? 'caught up' : `${bytes(lag_bytes)} behind`}
        </text>
      )}
    </g>
  );
}

/** This many characters of a name fit. */
const NAME_LENGTH = 23;

function InstanceNode({ spot: { instance, x, y }, shape }: { readonly spot: Spot; readonly shape: Shape }) {
  const { width, height } = NODE[shape];
  const { name, role, version, status } = instance;
  const word = INSTANCE_WORDS[status];
  const short = name.length > NAME_LENGTH ? `${name.slice(0, NAME_LENGTH - 1)}…` : name;
  return (
    <g className={`node ${word.tone} ${role ?? ''}`} transform={`translate(${x} ${y})`}>
      <title>{`${name}: ${[word.text, ...troublesOf(instance)].join('; ')}`}</title>
      <rect width={width} height={height} rx="11" />
      <rect className="edge" width="4" height={height - 24} x="0" y="12" rx="2" />
      <text className="name" x="20" y="31">
        {short}
      </text>
      <circle cx="24" cy="53" r="4" />
      <text className="state" x="35" y="57.5">
        {word.text}
      </text>
      {role && role !== 'member' && (
        <text className="role" x={width - 18} y="31" textAnchor="end">
          {role}
        </text>
      )}
      <text className="release" x={width - 18} y="57.5" textAnchor="end">
        {version ?? '–'}
      </text>
    </g>
  );
}
