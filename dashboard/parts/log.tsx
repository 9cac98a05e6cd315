/** Events as lines, the newest in sight for as long as nobody scrolls away. */
import { useEffect, useRef, useState } from 'react';
import type { Connection } from '../data.ts';
import { clock, fullTime, instant, zoneName } from '../format.ts';
import type { Tone } from '../looks.ts';
import { Button, Card } from './basics.tsx';

export interface LogLine {
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
  /** Types that are left out until somebody asks for everything. */
  readonly details: readonly string[];
  /** What they are then called. */
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
        // biome-ignore lint/a11y/noNoninteractiveTabindex: whoever has no pointer scrolls it by keys
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

/** What some messages leave to their type. */
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

/** Whether what is shown is what happens. */
export function ConnectionState({ connection }: { readonly connection: Connection }) {
  const { text, tone } = CONNECTIONS[connection];
  return (
    <span className={`connection ${connection} ${tone}`} role="status">
      <span className="dot" aria-hidden="true" />
      {text}
    </span>
  );
}
