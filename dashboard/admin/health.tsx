/** The state of all parts of the installation. */
import type { ReactNode } from 'react';
import type { HealthReportDocument } from '../../client/index.ts';
import { usePolled } from '../data.ts';
import { count, duration } from '../format.ts';
import { Card, Empty, Note, Pill } from '../parts/basics.tsx';
import { Reading } from '../parts/failure.tsx';
import { Page } from '../parts/page.tsx';
import { Rows } from '../parts/rows.tsx';
import { Ago } from '../parts/when.tsx';
import { hrefTo, Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import type { Tone } from '../tones.ts';
import { INSTANCE_WORDS } from '../words.ts';

const EVERY_MS = 4_000;
/** A taskmanager normally handles work within about a second after the work is due. */
const OVERDUE_MS = 10_000;

export function HealthScreen() {
  const { data, error, reload } = usePolled((client) => client.health(), {
    key: 'health',
    everyMs: EVERY_MS,
  });
  return (
    <Page title="Health">
      <Reading what="the health of all parts" data={data} error={error} reload={reload} />
      {data && <Report health={data} />}
    </Page>
  );
}

function Report({ health }: { readonly health: HealthReportDocument }) {
  return (
    <>
      {troublesOf(health).map(({ title, advice }) => (
        <Note key={title} kind="bad" title={title}>
          {advice}
        </Note>
      ))}
      <div className="tiles">
        <Redis health={health} />
        <RabbitMq health={health} />
        <Taskmanagers health={health} />
        <Guests health={health} />
      </div>
      <Queues health={health} />
      <Unwell health={health} />
    </>
  );
}

interface Trouble {
  readonly title: string;
  readonly advice: string;
}

function troublesOf({ redis, rabbitmq, taskmanagers, work }: HealthReportDocument): readonly Trouble[] {
  const overdue = work && work.overdue_ms > OVERDUE_MS;
  return [
    redis.status === 'unreachable' && {
      title: 'Redis cannot be reached',
      advice: 'Requests are answered 503, and nothing is lost that was accepted. Start it again.',
    },
    redis.status === 'refuses_writes' && {
      title: 'Redis takes no writes',
      advice:
        'Requests that change something are answered 503. It may be a replica, be full, or lack replicas: the log of the API says which.',
    },
    rabbitmq.status === 'unreachable' && {
      title: 'RabbitMQ cannot be reached',
      advice:
        'Requests are accepted and kept safe in Redis, and carried out when it is back. Start it again.',
    },
    taskmanagers === 0 && {
      title: 'No taskmanager is running',
      advice: 'Upgrades are accepted and wait. Start one: npx coffer-taskmanager',
    },
    overdue && {
      title: `Nobody has looked at ${count(work.overdue, 'upgrade or cluster', 'upgrades and clusters')} that are due, for ${duration(work.overdue_ms)}`,
      advice: 'Taskmanagers are away, or have more to do than they can: start another one.',
    },
  ].filter((trouble) => trouble !== false && trouble !== null);
}

interface TileProps {
  readonly title: string;
  readonly tone: Tone;
  readonly state: string;
  readonly children: ReactNode;
}

function Tile({ title, tone, state, children }: TileProps) {
  return (
    <section className="tile" aria-label={title}>
      <header>
        <h2>{title}</h2>
        <Pill tone={tone}>{state}</Pill>
      </header>
      <p className="quiet">{children}</p>
    </section>
  );
}

interface HealthProps {
  readonly health: HealthReportDocument;
}

function Redis({ health: { redis, work } }: HealthProps) {
  if (redis.status === 'unreachable') {
    return (
      <Tile title="Redis" tone="bad" state="Away">
        It does not answer.
      </Tile>
    );
  }
  const pending = work && work.pending_casts > 0;
  const isWell = redis.status === 'ok';
  return (
    <Tile title="Redis" tone={isWell ? 'ok' : 'bad'} state={isWell ? 'Ok' : 'Takes no writes'}>
      Answers in {duration(redis.latency_ms ?? 0)}.{' '}
      {pending
        ? `${count(work.pending_casts, 'message')} wait for RabbitMQ.`
        : 'No message waits for RabbitMQ.'}
    </Tile>
  );
}

function RabbitMq({ health: { rabbitmq } }: HealthProps) {
  const { href } = useSession();
  if (rabbitmq.status === 'unreachable') {
    return (
      <Tile title="RabbitMQ" tone="bad" state="Away">
        It does not answer.
      </Tile>
    );
  }
  const letters = rabbitmq.dead_letters ?? 0;
  return (
    <Tile title="RabbitMQ" tone={letters > 0 ? 'wait' : 'ok'} state="Ok">
      {letters > 0 ? (
        <Link to={href(['dead-letters'])}>{count(letters, 'dead letter')} to look at</Link>
      ) : (
        'No dead letters.'
      )}
    </Tile>
  );
}

function Taskmanagers({ health: { taskmanagers, work } }: HealthProps) {
  const atWork = Object.entries(work?.upgrades ?? {}).filter(([, number]) => number > 0);
  const upgrades = atWork.map(([state, number]) => `${number} ${state}`).join(', ');
  const tone = taskmanagers === null ? 'idle' : taskmanagers === 0 ? 'bad' : 'ok';
  return (
    <Tile
      title="Taskmanagers"
      tone={tone}
      state={taskmanagers === null ? 'Not known' : `${taskmanagers} at work`}
    >
      {upgrades === '' ? 'No upgrade is under way.' : `Upgrades: ${upgrades}.`}
    </Tile>
  );
}

function Guests({ health: { guests } }: HealthProps) {
  if (!guests) {
    return (
      <Tile title="Guests" tone="idle" state="Not known">
        Their reports are in Redis.
      </Tile>
    );
  }
  const active = guests.by_status['ACTIVE'] ?? 0;
  return (
    <Tile
      title="Guests"
      tone={active === guests.total ? 'ok' : 'wait'}
      state={`${active} of ${guests.total} well`}
    >
      In {count(guests.clusters, 'cluster')} of all projects, counted <Ago at={guests.counted} />.
    </Tile>
  );
}

function Queues({ health: { rabbitmq } }: HealthProps) {
  if (rabbitmq.queues.length === 0) return null;
  return (
    <Card title="Queues">
      <Rows caption="Queues" columns={['Queue', 'Messages that wait', 'Consumers']}>
        {rabbitmq.queues.map(({ name, messages, consumers }) => (
          <tr key={name}>
            <th scope="row" className="mono">
              {name}
            </th>
            <td data-label="Messages">{messages}</td>
            <td data-label="Consumers">{consumers}</td>
          </tr>
        ))}
      </Rows>
    </Card>
  );
}

function Unwell({ health: { guests } }: HealthProps) {
  if (!guests) return null;
  return (
    <Card title="Guests that are not well" aside="of all projects, a hundred at most">
      {guests.unwell.length === 0 ? (
        <Empty title="All of them are well" />
      ) : (
        <Rows
          caption="Guests that are not well"
          columns={['Instance', 'State', 'Cluster', 'Project', 'Heard', 'Why']}
        >
          {guests.unwell.map((guest) => (
            <UnwellRow key={guest.instance_id} guest={guest} />
          ))}
        </Rows>
      )}
    </Card>
  );
}

type Guest = NonNullable<HealthReportDocument['guests']>['unwell'][number];

function UnwellRow({ guest }: { readonly guest: Guest }) {
  const word = INSTANCE_WORDS[guest.status];
  return (
    <tr>
      <th scope="row">
        <Link className="row-link" to={hrefTo([guest.tenant_id, 'clusters', guest.cluster_id])}>
          {guest.instance_name}
        </Link>
      </th>
      <td data-label="State">
        <Pill tone={word.tone}>{word.text}</Pill>
      </td>
      <td data-label="Cluster">{guest.cluster_name}</td>
      <td data-label="Project">{guest.tenant_id}</td>
      <td data-label="Heard">{guest.heard ? <Ago at={guest.heard} /> : 'never'}</td>
      <td data-label="Why" className="reason">
        {[...new Set([guest.fault, guest.message])].filter((why) => why !== null).join('; ')}
      </td>
    </tr>
  );
}
