/** Times, in the user's zone. */
import { useEffect, useState } from 'react';
import { ago, clock, duration, fullTime, instant } from '../format.ts';

/** The current time, updated again and again. */
export function useNow(everyMs: number | null): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (everyMs === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** `14:03:22`; hovering shows the day and the zone. */
export function When({ at }: { readonly at: string }) {
  const moment = instant(at);
  return (
    <time dateTime={new Date(moment).toISOString()} title={fullTime(moment)}>
      {clock(moment, Date.now())}
    </time>
  );
}

/** `3 min ago` */
export function Ago({ at }: { readonly at: string }) {
  const now = useNow(10_000);
  const moment = instant(at);
  return (
    <time dateTime={new Date(moment).toISOString()} title={fullTime(moment)}>
      {ago(Math.max(0, now - moment))}
    </time>
  );
}

/** The time from one moment to another, or to now. */
export function Lasted({ from, to }: { readonly from: string; readonly to: string | null }) {
  const now = useNow(to === null ? 1000 : null);
  return <>{duration((to === null ? now : instant(to)) - instant(from))}</>;
}
