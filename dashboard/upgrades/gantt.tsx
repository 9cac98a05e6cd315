/** The timeline of an upgrade: a lane for each instance and a bar for each phase, drawn as they happen. */
import type { EventDocument, UpgradeDocument } from '../../client/index.ts';
import { clock, duration } from '../format.ts';
import { useShape } from '../parts/shape.ts';
import { useNow } from '../parts/when.tsx';
import { isOver, PHASES, type Phase } from '../words.ts';
import { type Bar, type Lane, type Scale, scaleOf, ticksOf, timelineOf } from './timeline.ts';

const TICK_MS = 200;
/** Wide enough to be seen and to be hit with a pointer. */
const LEAST_WIDTH = 0.0045;

const COLOURS: Readonly<Record<Phase, string>> = {
  pending: 'soft',
  backoff: 'backoff',
  preparing: 'prepare',
  upgrading: 'work',
  verifying: 'verify',
  settling: 'verify',
  soaking: 'soak',
  fencing: 'prepare',
  demoting: 'switch',
  promoting: 'switch',
  following: 'switch',
  restoring: 'switch',
  done: 'done',
  failed: 'failed',
  skipped: 'soft',
};

interface GanttProps {
  readonly upgrade: UpgradeDocument;
  readonly events: readonly EventDocument[];
}

export function Gantt({ upgrade, events }: GanttProps) {
  const timeline = timelineOf(upgrade, events);
  const isMoving = !isOver(upgrade);
  const now = useNow(isMoving ? TICK_MS : null);
  const scale = scaleOf(timeline, now);
  if (timeline.start === null) {
    return <p className="quiet">Its steps show here as soon as a taskmanager has begun with it.</p>;
  }
  return (
    <figure className="gantt">
      <div className="gantt-body">
        <Axis scale={scale} />
        {timeline.lanes.map((lane) => (
          <LaneRow key={lane.instance_id} lane={lane} scale={scale} upgrade={upgrade} />
        ))}
        <div className="overlay" aria-hidden="true">
          {timeline.pauses.map(({ from, to, message }) => {
            const left = scale.position(from);
            const width = Math.max(LEAST_WIDTH, scale.position(to ?? scale.to) - left);
            return (
              <div
                key={from}
                className="pause"
                title={`${clock(from, now)}: ${message}`}
                style={{ left: percent(left), width: percent(width) }}
              >
                <span>{duration((to ?? scale.to) - from)}</span>
              </div>
            );
          })}
          {timeline.marks.map(({ at, text }) => (
            <div
              key={`${at} ${text}`}
              className={scale.position(at) > 0.7 ? 'mark left' : 'mark'}
              title={`${clock(at, now)}: ${text}`}
              style={{ left: percent(scale.position(at)) }}
            />
          ))}
          {isMoving && <div className="now" style={{ left: percent(scale.position(now)) }} />}
        </div>
      </div>
      <Legend lanes={timeline.lanes} hasPauses={timeline.pauses.length > 0} marks={timeline.marks.length} />
    </figure>
  );
}

function Axis({ scale }: { readonly scale: Scale }) {
  const shape = useShape();
  return (
    <div className="axis" aria-hidden="true">
      {ticksOf(scale, shape === 'wide' ? 8 : 4).map((tick) => (
        <span key={tick} style={{ left: percent(scale.position(scale.from + tick)) }}>
          {tick === 0 ? '0' : duration(tick)}
        </span>
      ))}
    </div>
  );
}

interface LaneRowProps {
  readonly lane: Lane;
  readonly scale: Scale;
  readonly upgrade: UpgradeDocument;
}

function LaneRow({ lane: { instance_id, name, bars }, scale, upgrade }: LaneRowProps) {
  const steps = upgrade.steps.filter((step) => step.instance_id === instance_id);
  const current =
    steps.findLast(({ phase }) => !['pending', 'done', 'skipped'].includes(phase)) ??
    steps.find(({ phase }) => phase === 'pending') ??
    steps.findLast(({ phase }) => phase === 'done') ??
    steps.at(-1);
  const phase = current?.phase ?? 'pending';
  return (
    <div className="lane">
      <div className="lane-label">
        <b title={name}>{name}</b>
        <span className={`phase ${COLOURS[phase]}`}>
          {PHASES[phase].text}
          {current && current.attempt > 1 && ` · attempt ${current.attempt}`}
        </span>
      </div>
      <div className="track" aria-hidden="true">
        {bars.map((bar) => (
          <BarSpan key={bar.id} bar={bar} scale={scale} />
        ))}
      </div>
      <p className="hidden">{bars.map((bar) => barText(bar, scale)).join(', ') || 'nothing yet'}</p>
    </div>
  );
}

function BarSpan({ bar, scale }: { readonly bar: Bar; readonly scale: Scale }) {
  const left = scale.position(bar.from);
  const width = Math.max(LEAST_WIDTH, scale.position(bar.to ?? scale.to) - left);
  const classes = ['phase-bar', COLOURS[bar.phase], bar.error === null ? '' : 'error', bar.to ? '' : 'open'];
  return (
    <span
      className={classes.filter(Boolean).join(' ')}
      title={barText(bar, scale)}
      style={{ left: percent(left), width: percent(width) }}
    />
  );
}

function barText({ phase, kind, attempt, from, to, error }: Bar, scale: Scale): string {
  const { text, means } = PHASES[phase];
  const what = kind === 'switchover' ? `switchover: ${text.toLowerCase()}` : text.toLowerCase();
  const lasted = duration((to ?? scale.to) - from);
  const which = attempt > 1 ? `, attempt ${attempt}` : '';
  return `${what} ${lasted}${which}${error ? `, failed: ${error}` : means ? ` (${means})` : ''}`;
}

const LEGEND = [
  { colour: 'prepare', text: 'preparing, serves on' },
  { colour: 'work', text: 'upgrading, out of service' },
  { colour: 'verify', text: 'verifying' },
  { colour: 'soak', text: 'soaking' },
  { colour: 'switch', text: 'switchover' },
  { colour: 'backoff', text: 'back-off' },
];

interface LegendProps {
  readonly lanes: readonly Lane[];
  readonly hasPauses: boolean;
  readonly marks: number;
}

function Legend({ lanes, hasPauses, marks }: LegendProps) {
  const bars = lanes.flatMap((lane) => lane.bars);
  const used = new Set(bars.map(({ phase }) => COLOURS[phase]));
  return (
    <figcaption className="legend" aria-hidden="true">
      {LEGEND.filter(({ colour }) => used.has(colour)).map(({ colour, text }) => (
        <span key={colour}>
          <i className={`phase-bar ${colour}`} />
          {text}
        </span>
      ))}
      {bars.some(({ error }) => error !== null) && (
        <span>
          <i className="phase-bar work error" />
          failed attempt
        </span>
      )}
      {hasPauses && (
        <span>
          <i className="pause" />
          paused (drawn shorter)
        </span>
      )}
      {marks > 0 && (
        <span>
          <i className="mark" />
          primary or goal changes
        </span>
      )}
    </figcaption>
  );
}

function percent(share: number): string {
  return `${(share * 100).toFixed(3)}%`;
}
