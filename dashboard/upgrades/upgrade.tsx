/** The progress of an upgrade. */
import type { EventDocument, UpgradeDocument } from '../../client/index.ts';
import { InstanceTroubles } from '../clusters/troubles.tsx';
import { type Connection, usePolled, useWatched } from '../data.ts';
import { capitalised, clock, duration, instant } from '../format.ts';
import { Card, Note, Pill, Progress, Stat } from '../parts/basics.tsx';
import { Reading } from '../parts/failure.tsx';
import { ConnectionState, EventLog } from '../parts/log.tsx';
import { Origin } from '../parts/origin.tsx';
import { Page } from '../parts/page.tsx';
import { Lasted, useNow } from '../parts/when.tsx';
import { go, Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { isOver, troublesOf, upgradeWord } from '../words.ts';
import { UpgradeActions } from './actions.tsx';
import { Gantt } from './gantt.tsx';
import { PolicyRows } from './policy-rows.tsx';

/** Events that appear in the log only when the user asks for everything. */
const DETAILS = ['step_phase'];

export function UpgradeScreen({ id }: { readonly id: string }) {
  const { href } = useSession();
  const watched = useWatched<UpgradeDocument, EventDocument>({
    key: id,
    get: (client) => client.upgrades.get(id),
    watch: (client, hooks) => client.upgrades.watch(id, hooks),
    isOver,
  });
  const { document: upgrade, events, connection, error, put } = watched;
  const name = upgrade?.cluster_name ?? 'a cluster that is gone';
  const done = (after: UpgradeDocument) => {
    // An upgrade that has ended is taken up by another one, whose document belongs to another screen.
    if (after.id === id) put(after);
    else go(href(['upgrades', after.id]));
  };
  return (
    <Page
      title={upgrade ? `${name} to ${upgrade.to.name}` : 'Upgrade'}
      crumbs={
        <>
          <Link to={href(['clusters'])}>Clusters</Link>
          {upgrade && (
            <>
              {' '}
              / <Link to={href(['clusters', upgrade.cluster_id])}>{name}</Link>
            </>
          )}
        </>
      }
      aside={upgrade && <UpgradeActions upgrade={upgrade} onDone={done} />}
    >
      <Reading what="the upgrade" data={upgrade} error={error} />
      {upgrade && (
        <>
          <Troubles upgrade={upgrade} />
          <Summary upgrade={upgrade} connection={connection} />
          <Card title="Timeline" aside="since its start">
            <Gantt upgrade={upgrade} events={events} />
          </Card>
          <div className="columns">
            <EventLog events={events} details={DETAILS} everything="Every phase" />
            <Details upgrade={upgrade} />
          </div>
        </>
      )}
    </Page>
  );
}

const TROUBLES_EVERY_MS = 3_000;

/** The upgrade may be waiting for a trouble of the instances themselves; errors of steps stand in the details. */
function Troubles({ upgrade }: { readonly upgrade: UpgradeDocument }) {
  const { data } = usePolled((client) => client.clusters.get(upgrade.cluster_id), {
    key: upgrade.cluster_id,
    everyMs: isOver(upgrade) ? null : TROUBLES_EVERY_MS,
  });
  if (!data || isOver(upgrade)) return null;
  const told = new Set(upgrade.steps.map(({ error }) => error));
  const untold = data.instances.filter(
    (one) => one.status === 'UNKNOWN' || troublesOf(one).some((trouble) => !told.has(trouble)),
  );
  return <InstanceTroubles instances={untold} />;
}

function Summary({
  upgrade,
  connection,
}: {
  readonly upgrade: UpgradeDocument;
  readonly connection: Connection;
}) {
  const word = upgradeWord(upgrade);
  const { progress, status, from, to, state, started, created, ended, write_outage_ms } = upgrade;
  const isBack = state === 'rolling_back' || state === 'rolled_back';
  return (
    <Card className={`hero ${word.tone}`}>
      <div className="hero-head">
        <Pill tone={word.tone}>{word.text}</Pill>
        <span className="mono quiet">
          {from.name} {isBack ? '←' : '→'} {to.name}
        </span>
        <ConnectionState connection={connection} />
      </div>
      <p className="sentence" aria-live="polite">
        {sentenceOf(status)}
      </p>
      <Progress label="Steps done" value={progress.done} max={progress.total} tone={word.tone} />
      <dl className="stats">
        <Stat label="Steps done">
          {progress.done} of {progress.total}
        </Stat>
        <Stat label={ended ? 'Took' : 'Elapsed'}>
          <Lasted from={started ?? created} to={ended} />
        </Stat>
        {!ended && <EstimatedEnd upgrade={upgrade} />}
        <Stat label="Write outage" tone={write_outage_ms > 5_000 ? 'wait' : undefined}>
          {write_outage_ms > 0 ? duration(write_outage_ms) : 'none'}
        </Stat>
      </dl>
    </Card>
  );
}

/** The buttons show what a person can do, and times are shown in the user's zone. */
function sentenceOf(status: string): string {
  const said = status.replace(/; (a person can: [^;]*|nothing is left for a person to do)$/, '');
  const local = said.replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, (time) => clock(instant(time), Date.now()));
  // The sentence may begin with the name of the upgrade's state, such as rolled_back.
  return capitalised(local.replace(/^[a-z_]+/, (word) => word.replaceAll('_', ' ')));
}

function EstimatedEnd({ upgrade: { estimated_end } }: { readonly upgrade: UpgradeDocument }) {
  const now = useNow(1000);
  if (estimated_end === null) return null;
  return (
    <Stat label="Expected to take">another {duration(Math.max(1000, instant(estimated_end) - now))}</Stat>
  );
}

function Details({ upgrade }: { readonly upgrade: UpgradeDocument }) {
  const { href } = useSession();
  const { follows, batch_id, steps, policy } = upgrade;
  const failed = steps.filter(({ error, phase }) => error !== null && phase !== 'done');
  return (
    <Card title="Details">
      {failed.map((step) => (
        <Note key={step.id} kind="bad" title={`${step.instance_name ?? step.instance_id} has failed`}>
          {step.error}
        </Note>
      ))}
      <Origin of={upgrade}>
        {batch_id !== null && (
          <>
            <dt>Part of</dt>
            <dd>
              <Link to={href(['batches', batch_id])}>a batch</Link>
            </dd>
          </>
        )}
        {follows && (
          <>
            <dt>A {follows.as} of</dt>
            <dd>
              <Link to={href(['upgrades', follows.upgrade_id])}>an earlier upgrade</Link>
            </dd>
          </>
        )}
        <PolicyRows policy={policy} />
      </Origin>
    </Card>
  );
}
