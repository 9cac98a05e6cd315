/** Requesting an upgrade: which version, under which policy, and what the upgrade would do. */
import { useDeferredValue, useState } from 'react';
import { type ClusterDocument, CofferApiError, type PlanDocument } from '../../client/index.ts';
import { byName } from '../clusters/filter.ts';
import { useDoing, usePolled } from '../data.ts';
import { capitalised, count, duration } from '../format.ts';
import { Button, Card, Empty, Note, Spinner } from '../parts/basics.tsx';
import { Dialog } from '../parts/dialog.tsx';
import { FailureNote, Reading } from '../parts/failure.tsx';
import { Page } from '../parts/page.tsx';
import { go, Link } from '../router.tsx';
import { useSession } from '../session.tsx';
import { isRefusing } from '../words.ts';
import { PlanPreview } from './plan-preview.tsx';
import { DEFAULT_DRAFT, type PolicyDraft, policyOf, policyTexts, problemsOf } from './policy.ts';
import { PolicyForm } from './policy-form.tsx';

const PLAN_EVERY_MS = 3_000;

export function AskUpgradeScreen({ id }: { readonly id: string }) {
  const { href } = useSession();
  const { data, error, reload } = usePolled(
    async (client) => {
      const cluster = await client.clusters.get(id);
      const versions = await client.datastores.versions(cluster.datastore.type);
      return { cluster, versions: versions.filter(({ active }) => active === 1).map(({ name }) => name) };
    },
    { key: id, everyMs: PLAN_EVERY_MS },
  );
  const cluster = data?.cluster;
  return (
    <Page
      title={cluster ? `Upgrade ${cluster.name}` : 'Upgrade'}
      crumbs={
        <>
          <Link to={href(['clusters'])}>Clusters</Link> /{' '}
          <Link to={href(['clusters', id])}>{cluster?.name ?? 'Cluster'}</Link>
        </>
      }
    >
      <Reading what="the cluster" data={data} error={error} reload={reload} />
      {data && <AskForm cluster={data.cluster} versions={data.versions} />}
    </Page>
  );
}

interface AskFormProps {
  readonly cluster: ClusterDocument;
  readonly versions: readonly string[];
}

function AskForm({ cluster, versions }: AskFormProps) {
  const reachable = cluster.upgrades_to ?? [];
  const [chosen, setChosen] = useState<string | undefined>(reachable.at(-1));
  const [draft, setDraft] = useState(DEFAULT_DRAFT);
  const change = (part: Partial<PolicyDraft>) => setDraft((before) => ({ ...before, ...part }));
  const problems = problemsOf(draft);
  const isReady = chosen !== undefined && Object.keys(problems).length === 0;
  const key = useDeferredValue(JSON.stringify([chosen, isReady ? policyOf(draft, DEFAULT_DRAFT) : null]));
  const { data, error, reload } = usePolled(
    async (client) =>
      isReady && chosen ? client.clusters.plan(cluster.id, chosen, policyOf(draft, DEFAULT_DRAFT)) : null,
    { key, everyMs: PLAN_EVERY_MS },
  );
  const override = (gate: string, reason: string | null) => {
    const { [gate]: _, ...others } = draft.overrides;
    change({ overrides: reason === null ? others : { ...others, [gate]: reason } });
  };
  return (
    <div className="columns ask">
      <div className="stack">
        <Card title="Version" aside={`now ${cluster.datastore.version}`}>
          <VersionPicker cluster={cluster} versions={versions} chosen={chosen} onChoose={setChosen} />
        </Card>
        <Card title="How">
          <PolicyForm draft={draft} problems={problems} onChange={change} />
        </Card>
      </div>
      <Card title="What would happen" className="preview" aside="a preview: nothing changes">
        {chosen === undefined && <Empty title="Choose a version to see the plan" />}
        {error !== undefined && <FailureNote error={error} what="There is no plan for this" />}
        {isReady && !data && error === undefined && <Spinner label="Planning" />}
        {chosen !== undefined && !isReady && <p className="quiet">Correct the settings to see the plan.</p>}
        {data && (
          <>
            <PlanPreview plan={data} overrides={draft.overrides} onOverride={override} />
            <AskButton cluster={cluster} plan={data} draft={draft} onStale={reload} />
          </>
        )}
      </Card>
    </div>
  );
}

interface VersionPickerProps extends AskFormProps {
  readonly chosen: string | undefined;
  readonly onChoose: (version: string) => void;
}

function VersionPicker({ cluster, versions, chosen, onChoose }: VersionPickerProps) {
  const reachable = [...(cluster.upgrades_to ?? [])].reverse();
  const others = versions.filter((name) => !reachable.includes(name)).toSorted((a, b) => byName(b, a));
  const choice = (name: string, hint: string) => (
    <label key={name} className={name === chosen ? 'choice chosen' : 'choice'}>
      <input
        type="radio"
        name="version"
        value={name}
        checked={name === chosen}
        onChange={() => onChoose(name)}
      />
      <b className="mono">{name}</b>
      <span className="quiet">{hint}</span>
    </label>
  );
  return (
    <fieldset className="versions">
      <legend className="hidden">Version to go to</legend>
      {reachable.map((name, index) => choice(name, index === 0 ? 'newest' : ''))}
      {reachable.length === 0 && (
        <Empty title="There is no newer version">
          Nothing in the catalogue can be reached from {cluster.datastore.version}.
        </Empty>
      )}
      {others.length > 0 && (
        <details>
          <summary>{count(others.length, 'other version')}, with what stands in the way</summary>
          {others.map((name) => choice(name, name === cluster.datastore.version ? 'runs now' : ''))}
        </details>
      )}
    </fieldset>
  );
}

interface AskButtonProps {
  readonly cluster: ClusterDocument;
  readonly plan: PlanDocument;
  readonly draft: PolicyDraft;
  /** Called when the plan has changed meanwhile. */
  readonly onStale: () => void;
}

function AskButton({ cluster, plan, draft, onStale }: AskButtonProps) {
  const { href } = useSession();
  /** The plan that the user has seen: the request for the upgrade carries its hash. */
  const [seen, setSeen] = useState<PlanDocument>();
  const asking = useDoing(async (client) => {
    if (!seen) return;
    const options = { planHash: seen.hash };
    try {
      const begun = await client.clusters.upgrade(
        cluster.id,
        seen.to.id,
        policyOf(draft, DEFAULT_DRAFT),
        options,
      );
      go(href(['upgrades', begun.upgrade_id]));
    } catch (error) {
      if (isConflict(error)) onStale();
      throw error;
    }
  });
  const close = () => {
    setSeen(undefined);
    asking.forget();
  };
  const look = () => {
    setSeen(plan);
    asking.forget();
  };
  const isRefused = plan.gates.some(({ gate }) => isRefusing(gate));
  const lacksReason = Object.values(draft.overrides).some((reason) => reason.trim() === '');
  return (
    <div className="ask-button">
      <Button kind="primary" isDisabled={isRefused || lacksReason} onClick={() => setSeen(plan)}>
        Upgrade to {plan.to.name} …
      </Button>
      {isRefused && <p className="hint">It would be refused as things are: see above what helps.</p>}
      {lacksReason && <p className="hint">Say why the gate may be skipped.</p>}
      {seen && (
        <Dialog
          title={`Upgrade ${cluster.name} to ${seen.to.name}?`}
          onClose={close}
          actions={
            <>
              <Button onClick={close}>Not now</Button>
              <Button kind="primary" isBusy={asking.isBusy} onClick={() => void asking.run()}>
                Upgrade it
              </Button>
            </>
          }
        >
          <Refusal error={asking.error} seen={seen} plan={plan} onLook={look} />
          <Outlook plan={seen} draft={draft} />
        </Dialog>
      )}
    </div>
  );
}

/** What is going to happen, in sentences. */
function Outlook({ plan, draft }: { readonly plan: PlanDocument; readonly draft: PolicyDraft }) {
  const instances = plan.steps.filter(({ kind }) => kind === 'instance');
  return (
    <ul className="promise">
      <li>
        {count(instances.length, 'instance')} will go from {plan.from.name} to {plan.to.name}
        {plan.estimate_seconds === null
          ? ' (how long that takes is not known before the first upgrade is measured)'
          : `, in about ${duration(plan.estimate_seconds * 1000)} of work`}
        : {instances.map((step) => step.instance_name).join(', ')}.
      </li>
      <li>Each is out of service for a moment; the others serve meanwhile.</li>
      {plan.successor && (
        <li>
          {plan.successor.instance_name} becomes the primary, once. Writes wait for that moment, and none that
          was acknowledged is lost.
        </li>
      )}
      {plan.gates.length > 0 && (
        <li>It begins, and then waits for {plan.gates.map(({ gate }) => gate).join(', ')}.</li>
      )}
      <li>{capitalised(policyTexts(policyOf(draft, DEFAULT_DRAFT)).join('; '))}.</li>
      <li>It can be paused, cancelled and rolled back while it runs.</li>
      <li className="quiet">
        Plan <span className="mono">{plan.hash}</span>: if it is another one by then, nothing begins.
      </li>
    </ul>
  );
}

interface RefusalProps {
  readonly error: unknown;
  readonly seen: PlanDocument;
  readonly plan: PlanDocument;
  readonly onLook: () => void;
}

function Refusal({ error, seen, plan, onLook }: RefusalProps) {
  if (isConflict(error)) {
    return (
      <Note
        kind="wait"
        title="The plan has changed since you looked"
        action={seen.hash !== plan.hash && <Button onClick={onLook}>Show the new one</Button>}
      >
        Order, roles or versions are others now, and nothing has begun.
      </Note>
    );
  }
  return error === undefined ? null : <FailureNote error={error} what="The upgrade was not begun" />;
}

function isConflict(error: unknown): boolean {
  return error instanceof CofferApiError && error.code === 'conflict';
}
