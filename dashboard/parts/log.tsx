/** Events as lines; the newest stays visible as long as the user does not scroll away. */
import { useEffect, useRef, useState } from 'react';
import type { Connection } from '../data.ts';
import { clock, fullTime, instant, zoneName } from '../format.ts';
import type { Tone } from '../tones.ts';
import { Button, Card } from './basics.tsx';

interface LogLine {
  readonly seq: number;
  readonly at: string;
  readonly type: string;
  readonly message: string;
}

const TONES: Readonly<Record<string, Tone>> = {
  step_failed: 'bad',
  failed: 'bad',
  step_retrying: 'wait',
  gate_blocked: 'wait',
  paused: 'wait',
  no_progress: 'wait',
  rolling_back: 'wait',
  step_done: 'ok',
  succeeded: 'ok',
  switched_over: 'run',
};

interface EventLogProps {
  readonly events: readonly LogLine[];
  /** Types of events that are hidden until the user asks for everything. */
  readonly details: readonly string[];
  /** The label of the switch that shows them. */
  readonly everything: string;
}

export function EventLog({ events, details, everything }: EventLogProps) {
  const [isFull, setFull] = useState(false);
  const list = useRef<HTMLDivElement>(null);
  const isAtEnd = useRef(true);
  const shown = isFull ? events : events.filter(({ type }) => !details.includes(type));
  const last = shown.at(-1)?.seq;
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new line is scrolled to
  useEffect(() => {
    if (isAtEnd.current) list.current?.scrollTo({ top: list.current.scrollHeight });
  }, [last]);
  return (
    <Card
      title="Events"
      aside={
        <>
          <span>{zoneName(Date.now())}</span>
          <Button kind="quiet" isPressed={isFull} onClick={() => setFull(!isFull)}>
            {everything}
          </Button>
        </>
      }
    >
      <div
        className="log"
        role="log"
        aria-label="Events, oldest first"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: users without a pointer scroll it with keys
        tabIndex={0}
        ref={list}
        onScroll={({ currentTarget: at }) => {
          isAtEnd.current = at.scrollHeight - at.scrollTop - at.clientHeight < 40;
        }}
      >
        <ol>
          {shown.map((event) => (
            <li key={event.seq} className={TONES[event.type] ?? ''}>
              <time dateTime={event.at} title={fullTime(instant(event.at))}>
                {clock(instant(event.at), Date.now())}
              </time>
              <span>{textOf(event)}</span>
            </li>
          ))}
        </ol>
      </div>
    </Card>
  );
}

/** The beginnings of messages that do not state what their type states. */
const BEGINNINGS: Readonly<Record<string, string>> = { planned: 'plan', started: 'started' };

function textOf({ type, message }: LogLine): string {
  const beginning = BEGINNINGS[type];
  return beginning === undefined ? message : `${beginning}: ${message}`;
}

const CONNECTIONS: Readonly<Record<Connection, { readonly text: string; readonly tone: Tone }>> = {
  connecting: { text: 'Connecting', tone: 'idle' },
  live: { text: 'Live', tone: 'ok' },
  lost: { text: 'Connection lost, trying again: nothing will be missed', tone: 'wait' },
  over: { text: 'Complete', tone: 'idle' },
};

/** Whether the shown events are up to date. */
export function ConnectionState({ connection }: { readonly connection: Connection }) {
  const { text, tone } = CONNECTIONS[connection];
  return (
    <span className={`connection ${connection} ${tone}`} role="status">
      <span className="dot" aria-hidden="true" />
      {text}
    </span>
  );
}
